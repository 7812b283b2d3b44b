package mirror

import (
	"errors"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/position"
	"cutover/engine/wire"
)

func laneZero() *lane { return &lane{config: settings(), partitions: []int32{0, 1}} }

func committedAt(next, from int64, producers ...int64) past {
	return past{committed: &next, mark: position.Mark{From: from, Producers: producers}}
}

func TestWithoutAPositionEveryFollowerPartitionIsLookedAt(t *testing.T) {
	pairs := pairsOf(laneZero(), map[int32]past{0: {}, 1: committedAt(5, 0)}, nil)
	for q := range int32(4) {
		if !pairs[pairKey{0, q}] {
			t.Errorf("partition %d may hold records of partition 0 whose keys chose their partition", q)
		}
	}
	if pairs[pairKey{1, 0}] {
		t.Error("partition 1 has a position, and its keys never land in partition 0")
	}
}

func TestRetentionThatPassedWhatTheFollowerHasStopsALaneWithoutPositions(t *testing.T) {
	l := laneZero()
	l.config.Start.Kind = "earliest"
	pasts := map[int32]past{0: {}, 1: {}}
	pairs := pairsOf(l, pasts, nil)
	for begin, stops := range map[int64]bool{500: false, 501: false, 502: true} {
		f := &found{resume: map[int32]int64{}, skip: map[pairKey]int64{}, starts: map[int32]int64{0: begin, 1: 0}}
		err := f.decide(l, pasts, pairs, nil, map[pairKey][]int64{{0, 0}: {400}, {0, 2}: {500}})
		var fault *wire.Fault
		if named := errors.As(err, &fault) && fault.Name == "retention_overtook"; named != stops {
			t.Errorf("500 is there and the origin begins at %d: %v", begin, err)
		}
	}
}

func TestTheTailIsRememberedFromJustBeforeTheLastTransaction(t *testing.T) {
	was := committedAt(200, 100)
	var offsets []int64
	for _, each := range []int64{1, 2, 50, 99, 100, 150, 199} {
		offsets = was.remember(offsets, each)
	}
	if want := []int64{99, 100, 150, 199}; !slices.Equal(offsets, want) {
		t.Errorf("%v are kept, not %v", offsets, want)
	}
	if offsets = was.remember([]int64{50}, 40); !slices.Equal(offsets, []int64{50, 40}) {
		t.Errorf("%v: a disorder is forgotten", offsets)
	}
}

func TestALaneKnowsItsOwnRecordsByTheirProducer(t *testing.T) {
	was := committedAt(200, 100, 7, 8)
	for producer, ours := range map[int64]bool{7: true, 8: true, 9: true, 10: false, -1: false} {
		if was.wrote(&kgo.Record{ProducerID: producer}, 9) != ours {
			t.Errorf("producer %d, ours: not %v", producer, ours)
		}
	}
	if !(past{}).wrote(&kgo.Record{ProducerID: 10}, 9) {
		t.Error("without a position the producers are not known, and nothing may be copied twice")
	}
}
