package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

func idleWorker(t *testing.T) *worker {
	t.Helper()
	server, err := wire.Listen(filepath.Join(t.TempDir(), "s"), time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	client, err := connect.Client(settings().Connection, "test")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorker(settings(), connect.Cluster{TransactionVersion: 2}, client, server)
	ctx, cancel := context.WithCancel(t.Context())
	w.ctx = ctx
	t.Cleanup(func() { cancel(); client.Close() })
	return w
}

func TestManyLanesFencedOnceAreNotContested(t *testing.T) {
	w := idleWorker(t)
	for lane := range int32(24) {
		if w.contested(lane) {
			t.Fatalf("lane %d is contested after one fence", lane)
		}
	}
}

func TestOneLaneFencedAgainAndAgainIsContested(t *testing.T) {
	w := idleWorker(t)
	for i := range contestedTakes {
		if w.contested(3) {
			t.Fatalf("contested after %d fences", i+1)
		}
	}
	if !w.contested(3) {
		t.Errorf("not contested after %d fences", contestedTakes+1)
	}
}

func TestFencesLongAgoAreForgotten(t *testing.T) {
	w := idleWorker(t)
	for range contestedTakes {
		w.fences[3] = append(w.fences[3], time.Now().Add(-2*contestedWithin))
	}
	if w.contested(3) {
		t.Error("old fences count")
	}
}

func TestTheFirstFatalErrorIsKept(t *testing.T) {
	w := idleWorker(t)
	w.end(errors.New("first"))
	w.end(errors.New("second"))
	if err := <-w.fatal; err.Error() != "first" {
		t.Error(err)
	}
}

func TestWallsAreForAllPartitionsOrNone(t *testing.T) {
	for _, one := range []struct {
		walls wire.Offsets
		good  bool
	}{
		{nil, true}, {wire.Offsets{0: 1, 1: 0}, true}, {wire.Offsets{}, false}, {wire.Offsets{0: 1}, false}, {wire.Offsets{0: 1, 7: 1}, false},
		{wire.Offsets{0: 1, 1: -1}, false}, {wire.Offsets{0: 1, 1: 1, 2: 1}, false},
	} {
		if err := wholeWalls(one.walls, 2); (err == nil) != one.good {
			t.Errorf("%v: %v", one.walls, err)
		}
	}
}

func TestBadConfigurationsAreRefused(t *testing.T) {
	spoil := map[string]func(*wire.Mirror){
		"no run":           func(m *wire.Mirror) { m.Run = "" },
		"no group":         func(m *wire.Mirror) { m.Group = "" },
		"no partitions":    func(m *wire.Mirror) { m.Follower.Partitions = 0 },
		"no lanes":         func(m *wire.Mirror) { m.Lanes = 0 },
		"too many lanes":   func(m *wire.Mirror) { m.Lanes = 3 },
		"partitioner":      func(m *wire.Mirror) { m.Partitioner = "dice" },
		"null keys":        func(m *wire.Mirror) { m.NullKeys = "somewhere" },
		"walls":            func(m *wire.Mirror) { m.Walls = wire.Offsets{1: 1} },
		"start":            func(m *wire.Mirror) { m.Start.Kind = "offsets" },
		"start of a part":  func(m *wire.Mirror) { m.Start = wire.Start{Kind: "offsets", Offsets: wire.Offsets{0: 5}} },
		"start not known":  func(m *wire.Mirror) { m.Start.Kind = "yesterday" },
		"negative timeout": func(m *wire.Mirror) { m.TransactionTimeoutMs = -5 },
	}
	for name, wrong := range spoil {
		config := settings()
		config.Start.Kind = "earliest"
		if err := complete(&config); err != nil {
			t.Fatal(err)
		}
		wrong(&config)
		var fault *wire.Fault
		if err := complete(&config); !errors.As(err, &fault) || fault.Name != "bad_configuration" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWholeLanesAreDealt(t *testing.T) {
	for _, members := range []int{1, 2, 3, 5} {
		for _, lanes := range []int32{1, 4, 6} {
			dealt := dealtTo(t, members, lanes, 24)
			owner := map[int32]string{}
			for member, partitions := range dealt {
				for _, p := range partitions {
					if before, some := owner[p%lanes]; some && before != member {
						t.Errorf("%d members, %d lanes: lane %d is divided", members, lanes, p%lanes)
					}
					owner[p%lanes] = member
				}
			}
			total, least, most := 0, 100, 0
			for _, partitions := range dealt {
				total += len(partitions)
				held := len(lanesOf(partitions, lanes))
				least, most = min(least, held), max(most, held)
			}
			if total != 24 || len(dealt) == members && most-least > 1 {
				t.Errorf("%d members, %d lanes: %d partitions, %d to %d lanes each", members, lanes, total, least, most)
			}
		}
	}
}

func dealtTo(t *testing.T, count int, lanes, partitions int32) map[string][]int32 {
	t.Helper()
	var members []kmsg.JoinGroupResponseMember
	for i := range count {
		one := kmsg.NewJoinGroupResponseMember()
		one.MemberID = fmt.Sprint("m", i)
		one.ProtocolMetadata = byLane{lanes}.JoinGroupMetadata([]string{"s"}, nil, 0)
		members = append(members, one)
	}
	balancer, err := kgo.NewConsumerBalancer(byLane{lanes}, members)
	if err != nil {
		t.Fatal(err)
	}
	dealt := map[string][]int32{}
	by := byLane{lanes}
	for _, one := range by.Balance(balancer, map[string]int32{"s": partitions}).IntoSyncAssignment() {
		got, err := by.ParseSyncAssignment(one.MemberAssignment)
		if err != nil {
			t.Fatal(err)
		}
		if len(got["s"]) > 0 {
			dealt[one.MemberID] = got["s"]
		}
	}
	return dealt
}

func TestWorkersThatCountOtherLanesSpeakAnotherProtocol(t *testing.T) {
	if (byLane{4}).ProtocolName() == (byLane{6}).ProtocolName() {
		t.Error("they could join one group")
	}
}

func TestTheMemberIsGivenNothingToRead(t *testing.T) {
	given, err := fromNowhere(t.Context(), map[string]map[int32]kgo.Offset{"s": {0: kgo.NewOffset().At(3)}})
	if err != nil || len(given) != 0 {
		t.Errorf("%v, %v", given, err)
	}
}

func TestLanesOfPartitionsAreEachOnce(t *testing.T) {
	if got := lanesOf([]int32{7, 1, 3, 5, 13}, 6); !slices.Equal(got, []int32{1, 3, 5}) {
		t.Errorf("%v", got)
	}
}

func TestWhichErrorsAreTriedForEver(t *testing.T) {
	for err, forEver := range map[error]bool{
		wire.Faultf("unreachable", "x"):                    true,
		wire.Faultf("topic_gone", "x"):                     true,
		fmt.Errorf("x: %w", kerr.NotLeaderForPartition):    true,
		fmt.Errorf("x: %w", kerr.NotCoordinator):           true,
		fmt.Errorf("x: %w", io.EOF):                        true,
		fmt.Errorf("x: %w", context.DeadlineExceeded):      true,
		fmt.Errorf("x: %w", kerr.OffsetMetadataTooLarge):   false,
		fmt.Errorf("x: %w", kerr.UnsupportedVersion):       false,
		errors.New("something that nobody thought of yet"): false,
	} {
		if connection(err) != forEver {
			t.Errorf("%v: for ever %v", err, !forEver)
		}
	}
	if !final(wire.Faultf("hole", "x")) || final(wire.Faultf("unreachable", "x")) || final(io.EOF) {
		t.Error("a hole is final, an unreachable cluster is not")
	}
}

func TestARefusedBatchNamesItsOrigin(t *testing.T) {
	one := made(0, sized1(10))
	for err, name := range map[error]string{kerr.MessageTooLarge: "record_too_large", kerr.InvalidRecord: "record_refused"} {
		var fault *wire.Fault
		refused := transaction.Refuse(4, err)
		if !errors.As(unwelcome(settings(), []*batch{one}, refused), &fault) || fault.Name != name {
			t.Fatalf("%v became %v", err, fault)
		}
		if fault.Fields["origin_partition"] != int32(2) || fault.Fields["origin_offset"] != int64(100) {
			t.Errorf("fields %v", fault.Fields)
		}
	}
	if other := transaction.Refuse(4, kerr.NotLeaderForPartition); unwelcome(settings(), []*batch{one}, other) != error(other) {
		t.Error("a passing error became a fault")
	}
}

func TestALaneThatHasCopiedNothingYetIsBehindSinceItWasTaken(t *testing.T) {
	w := idleWorker(t)
	w.ends = wire.Offsets{0: 1000}
	one := newLane(w.config, w.cluster, 0, w.limits, w.counts, w.to.Emit, nil)
	one.committed = wire.Offsets{0: 0}
	var p wire.Progress
	p.Ends = wire.Offsets{}
	if w.lag(&p, one.stands(), time.Now().Add(3*time.Second)); p.LagSeconds < 2.9 {
		t.Errorf("%d records and %g s behind after 3 s", p.LagRecords, p.LagSeconds)
	}
}

func TestWhatASilentClusterHoldsMayBeAsOldAsItsSilence(t *testing.T) {
	w := idleWorker(t)
	w.answered = time.Now().Add(-time.Minute)
	if p := w.progress(time.Second); p.LagSeconds < 59 {
		t.Errorf("%g s behind a cluster that has been silent for a minute", p.LagSeconds)
	}
}
