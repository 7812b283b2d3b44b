package mirror

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/wire"
)

func settings() wire.Mirror {
	return wire.Mirror{
		Common:      wire.Common{Worker: "w", Connection: wire.Connection{BootstrapServers: []string{"127.0.0.1:1"}}},
		Run:         "r",
		RunID:       wire.RunID(run),
		Group:       "cutover.r.0",
		Origin:      wire.Topic{Name: "s", Partitions: 2},
		Follower:    wire.Topic{Name: "t", Partitions: 4, MaxMessageBytes: 1 << 20},
		Partitioner: "murmur2", NullKeys: "keep_partition", Lanes: 1,
	}
}

func reader(t *testing.T, skip map[pairKey]int64) *filler {
	t.Helper()
	f, err := newFiller(settings(), newLimits(wire.Rate{}), map[int32]int64{0: 0, 1: 0}, skip)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	return f
}

// fetched are data records of one partition at these offsets.
func fetched(partition int32, size int, offsets ...int64) kgo.Fetches {
	var records []*kgo.Record
	for _, offset := range offsets {
		records = append(records, &kgo.Record{Partition: partition, Offset: offset, Key: []byte("k"), Value: make([]byte, size), Timestamp: at(1)})
	}
	return kgo.Fetches{{Topics: []kgo.FetchTopic{{Topic: "s", Partitions: []kgo.FetchPartition{{Partition: partition, Records: records}}}}}}
}

func mustStand(t *testing.T, f *filler, walls wire.Offsets) {
	t.Helper()
	if err := f.stand(walls); err != nil {
		t.Fatal(err)
	}
}

func copied(of *load) (offsets []int64) {
	for _, queue := range of.queues {
		for _, one := range queue {
			for i := range one.Records {
				offsets = append(offsets, one.first.Offset+int64(i))
			}
		}
	}
	return offsets
}

func TestNothingAtOrPastAWallIsTaken(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, wire.Offsets{0: 3, 1: 0})
	f.fill(t.Context(), fetched(0, 1, 0, 1, 2, 3, 4))
	f.fill(t.Context(), fetched(0, 1, 5, 6))
	f.fill(t.Context(), fetched(1, 1, 0))
	if got := copied(f.current); len(got) != 3 || f.reading[0] != 3 || f.reading[1] != 0 {
		t.Errorf("offsets %v taken, next %v", got, f.reading)
	}
}

func TestAPositionStandsAtTheWallWhereTheLogHasAGapThere(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, wire.Offsets{0: 5, 1: 0})
	f.fill(t.Context(), fetched(0, 1, 0, 9))
	if f.reading[0] != 5 || f.current.spans[0] != (span{0, 5}) {
		t.Errorf("next %d, spans %v", f.reading[0], f.current.spans)
	}
}

func TestAWallBelowWhatWasReadIsRefusedAndChangesNothing(t *testing.T) {
	f := reader(t, nil)
	f.fill(t.Context(), fetched(0, 1, 0, 1, 2))
	var fault *wire.Fault
	if err := f.drainTo(wire.Offsets{0: 2, 1: 0}); !errors.As(err, &fault) || fault.Name != "wall_passed" {
		t.Fatalf("the wall was taken: %v", err)
	}
	if f.walls != nil {
		t.Error("a refused wall stands")
	}
	if err := f.drainTo(wire.Offsets{0: 3, 1: 0}); err != nil {
		t.Errorf("a wall at the next offset is refused: %v", err)
	}
}

func TestAWallThatIsMovedOnMakesReadingBeginAgain(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, wire.Offsets{0: 1, 1: 5})
	f.fill(t.Context(), fetched(0, 1, 0, 1, 2))
	if err := f.drainTo(wire.Offsets{0: 1, 1: 9}); err != nil || f.moved {
		t.Fatalf("a wall that nothing stood at: %v, moved %v", err, f.moved)
	}
	if err := f.drainTo(wire.Offsets{0: 3, 1: 9}); err != nil || !f.moved {
		t.Fatalf("records 1 and 2 were dropped at the wall, and reading goes on behind them: %v", err)
	}
	if f.fill(t.Context(), fetched(0, 1, 3)) || f.idle() {
		t.Error("reading went on")
	}
}

func TestTakingWallsAwayMakesReadingBeginAgain(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, wire.Offsets{0: 0, 1: 0})
	if err := f.drainTo(nil); err != nil || !f.moved {
		t.Errorf("moved %v: %v", f.moved, err)
	}
}

func TestRecordsThatAreThereAlreadyAreLeftOut(t *testing.T) {
	to, _ := route(settings())
	f := reader(t, map[pairKey]int64{{0, to.Target([]byte("k"), 0, 0)}: 4, {1, 0}: 9})
	mustStand(t, f, nil)
	f.fill(t.Context(), fetched(0, 1, 2, 3, 4, 5, 6))
	if got := copied(f.current); len(got) != 2 || got[0] != 5 || f.current.spans[0] != (span{0, 7}) {
		t.Errorf("copied %v, spans %v", got, f.current.spans)
	}
}

func TestALoadNeverGrowsFarAboveItsSize(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, nil)
	filled := make(chan bool)
	go func() { filled <- f.fill(t.Context(), fetched(0, 1<<20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)) }()
	total := int64(0)
	for total < 10 {
		taken := f.take(time.Now())
		if taken.bytes > f.full+(1<<20)+1000 {
			t.Fatalf("a load of %d bytes", taken.bytes)
		}
		total += taken.records
		f.give(taken)
	}
	if !<-filled || f.reading[0] != 10 {
		t.Errorf("next %d", f.reading[0])
	}
}

func TestAStopEndsWaitingForRoom(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, nil)
	ctx, stop := context.WithCancel(t.Context())
	defer context.AfterFunc(ctx, f.wake)()
	done := make(chan struct{})
	go func() { f.fill(ctx, fetched(0, 1<<20, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9)); close(done) }()
	stop()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		t.Fatal("fill still waits")
	}
	if f.reading[0] > 6 {
		t.Errorf("it read on to %d without room", f.reading[0])
	}
}

func TestPositionsThatPassedOnlyControlRecordsAreCommittedAfterAWhile(t *testing.T) {
	f := reader(t, nil)
	mustStand(t, f, nil)
	f.mu.Lock()
	f.since = time.Now()
	f.current.read(0, 0, 1)
	soon := f.worth(time.Now())
	f.since = time.Now().Add(-idleCommit)
	later := f.worth(time.Now())
	f.walls = wire.Offsets{0: 9, 1: 9}
	f.since = time.Now()
	draining := f.worth(time.Now().Add(time.Hour))
	f.mu.Unlock()
	if soon || !later || !draining {
		t.Errorf("at once %v, after a while %v, when draining %v", soon, later, draining)
	}
}

func TestTakeGivesNothingOnceReadingHasEnded(t *testing.T) {
	f := reader(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	go f.run(ctx)
	took := make(chan *load)
	go func() { took <- f.take(time.Now()) }()
	stop()
	select {
	case got := <-took:
		if got != nil {
			t.Error("a load was given")
		}
	case <-time.After(5 * time.Second):
		t.Fatal("take still waits")
	}
}

func TestAnOriginThatLostRecordsStopsTheLane(t *testing.T) {
	f := reader(t, nil)
	lost := kgo.NewErrFetch(&kgo.ErrDataLoss{Topic: "s", Partition: 1, ConsumedTo: 100, ResetTo: 80})
	var fault *wire.Fault
	if err := f.failed(t.Context(), lost); !errors.As(err, &fault) || fault.Name != "origin_truncated" {
		t.Errorf("goes on after %v", err)
	}
}
