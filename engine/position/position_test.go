package position

import (
	"slices"
	"testing"
)

func TestAMarkIsReadBackAsItWasCommittedAlsoByLibrdkafka(t *testing.T) {
	mark := Mark{Run: [8]byte{1, 2}, Epoch: 3, Start: 4, From: 5, Lanes: 6, Placement: "crc32/spread", Producers: []int64{7, 8}}
	for _, committed := range []string{mark.String(), mark.String() + "\x00"} {
		read, ours := Parse(committed)
		if !ours || read.Run != mark.Run || read.Epoch != 3 || read.Start != 4 || read.From != 5 || read.Lanes != 6 || read.Placement != "crc32/spread" || !slices.Equal(read.Producers, mark.Producers) {
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

func TestAWeekOfProducersHasRoom(t *testing.T) {
	mark := Mark{Run: [8]byte{1}, Epoch: 3, Start: 1 << 40, From: 1 << 41, Lanes: 24}
	for id := int64(1_000_000); len(mark.Producers) < 1600; id += 7 {
		mark.Producers = append(mark.Producers, id)
	}
	text := mark.String()
	if read, ours := Parse(text); !ours || !slices.Equal(read.Producers, mark.Producers) || read.Forgotten != 0 {
		t.Errorf("%d of %d producers in %d bytes", len(read.Producers), len(mark.Producers), len(text))
	}
}

func TestWhatHasNoRoomIsForgottenFromTheOldestOnAndCounted(t *testing.T) {
	mark := Mark{Run: [8]byte{1}, Forgotten: 5}
	for id := range int64(3000) {
		mark.Producers = append(mark.Producers, id*id)
	}
	text := mark.String()
	read, ours := Parse(text)
	if !ours || len(text) > mostBytes || read.Forgotten+len(read.Producers) != 3005 || read.Producers[len(read.Producers)-1] != 2999*2999 {
		t.Errorf("%d bytes, %d producers, %d forgotten", len(text), len(read.Producers), read.Forgotten)
	}
}

func TestMarksOfTheFormerFormAreRead(t *testing.T) {
	if read, ours := Parse(`{"r":"0100000000000000","e":0,"a":0,"f":0,"l":4,"p":[7,9]}`); !ours || !slices.Equal(read.Producers, []int64{7, 9}) {
		t.Errorf("%+v, %v", read, ours)
	}
}
