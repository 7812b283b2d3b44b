package position

import (
	"slices"
	"testing"
)

func TestAMarkIsReadBackAsItWasCommittedAlsoByLibrdkafka(t *testing.T) {
	mark := Mark{Run: [8]byte{1, 2}, Epoch: 3, Start: 4, From: 5, Lanes: 6, Producers: []int64{7, 8}}
	for _, committed := range []string{mark.String(), mark.String() + "\x00"} {
		read, ours := Parse(committed)
		if !ours || read.Run != mark.Run || read.Epoch != 3 || read.Start != 4 || read.From != 5 || read.Lanes != 6 || !slices.Equal(read.Producers, mark.Producers) {
			t.Errorf("%q was read as %+v, ours: %v", committed, read, ours)
		}
	}
}

func TestMetadataOfSomebodyElseIsNotOurs(t *testing.T) {
	for _, metadata := range []string{"", "\x00", "{}", "primed", `{"r":"0000000000000000"}`} {
		if _, ours := Parse(metadata); ours {
			t.Errorf("%q was taken for a mark of ours", metadata)
		}
	}
}
