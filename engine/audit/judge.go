package audit

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/audit/scan"
	"cutover/engine/connect"
	"cutover/engine/wire"
)

// expiredTries is how often a window is read again because retention moved a log's beginning during the reading.
const expiredTries = 5

// judge holds what lives through all windows: positions reached and the follower's accumulators.
type judge struct {
	terms
	origin, follower *scan.Reader
	marks            map[int32]committed // newest of the mirror's group
	known            []bool              // by origin partition: the mirror has a position there, or the configuration names the range
	followerBegan    []int64             // by follower partition: where the epoch began
	sides            []*followerSide
	reached          wire.Offsets // follower, up to where it was read
	reachedBefore    wire.Offsets // the same before the last window
	window           int64
	stragglersTotal  int64
	standing         string
	phase            atomic.Value // string
	total            atomic.Int64 // offsets of this window, both sides
	passed           atomic.Int64 // offsets passed before this window
	brokerTimes      bool         // some timestamp of this window was set by a broker
}

func newJudge(config wire.Audit) (*judge, error) {
	rules, err := rulesOf(config)
	if err != nil {
		return nil, err
	}
	n := config.Origin.Partitions
	made := &judge{
		terms: terms{
			config: config, rules: rules, digest: newDigester(), lanes: map[int64]bool{}, writers: map[int64]bool{},
			start: make([]int64, n), from: make([]int64, n), readable: make([]int64, n), until: make([]int64, n), first: true,
		},
		known: make([]bool, n), followerBegan: make([]int64, config.Follower.Partitions), standing: Proved,
	}
	made.phase.Store("reading")
	for q := range config.Follower.Partitions {
		made.sides = append(made.sides, newFollowerSide(&made.terms, q))
	}
	return made, nil
}

// open connects: a client per topic, so that neither waits behind the other's fetches.
func (j *judge) open() (func(), error) {
	origin, err := connect.Client(j.config.Connection, "cutover-audit-"+j.config.Worker)
	if err != nil {
		return nil, err
	}
	follower, err := connect.Client(j.config.Connection, "cutover-audit-"+j.config.Worker)
	if err != nil {
		origin.Close()
		return nil, err
	}
	j.origin, j.follower = scan.NewReader(origin, j.config.Origin), scan.NewReader(follower, j.config.Follower)
	return func() { origin.Close(); follower.Close() }, nil
}

func (j *judge) client() *kgo.Client { return j.origin.Client }

// side gives the accumulators of one origin partition in this window.
type originSides map[int32]*originSide

// read takes in one window: the origin's part of it, and the follower up to its high watermark.
func (j *judge) read(ctx context.Context, ends wire.Offsets) (originSides, error) {
	floored := j.followerExpired()
	originRanges, followerRanges := j.originRanges(), j.followerRanges(ends)
	j.total.Store(length(originRanges) + length(followerRanges))
	j.passed.Store(j.origin.Offsets.Load() + j.follower.Offsets.Load())
	sides := originSides{}
	for p := range originRanges {
		sides[p] = newOriginSide(&j.terms, p)
	}
	readOrigin := func() error {
		return j.origin.Read(ctx, originRanges, func(p int32) scan.Sink { return sides[p] })
	}
	readFollower := func() error {
		return j.follower.Read(ctx, followerRanges, func(q int32) scan.Sink { return j.sides[q] })
	}
	if floored == nil {
		return sides, both(readOrigin, readFollower)
	}
	// What the follower lost can only be told from what it still has: it is read first.
	if err := readFollower(); err != nil {
		return nil, err
	}
	for p, side := range sides {
		side.floors = j.floors(p, floored)
	}
	return sides, readOrigin()
}

func both(one, other func() error) error {
	var first, second error
	var group sync.WaitGroup
	group.Go(func() { first = one() })
	group.Go(func() { second = other() })
	group.Wait()
	return errors.Join(first, second)
}

func (j *judge) originRanges() map[int32]scan.Range {
	ranges := map[int32]scan.Range{}
	for p := range j.rules.origins {
		if j.readable[p] < j.until[p] {
			ranges[p] = scan.Range{From: j.readable[p], Until: j.until[p]}
		}
	}
	return ranges
}

func (j *judge) followerRanges(ends wire.Offsets) map[int32]scan.Range {
	ranges := map[int32]scan.Range{}
	for q := range j.rules.followers {
		if from := j.reached[q]; from < ends[q] {
			ranges[q] = scan.Range{From: from, Until: ends[q]}
		}
	}
	return ranges
}

func length(ranges map[int32]scan.Range) int64 {
	sum := int64(0)
	for _, each := range ranges {
		sum += each.Until - each.From
	}
	return sum
}

// followerExpired gives the follower partitions that lost records of this epoch before the first window could read them; nil: none.
func (j *judge) followerExpired() map[int32]bool {
	if !j.first {
		return nil
	}
	var expired map[int32]bool
	for q := range j.rules.followers {
		if j.reached[q] > j.followerBegan[q] {
			if expired == nil {
				expired = map[int32]bool{}
			}
			expired[q] = true
		}
	}
	return expired
}

// floors gives, per follower partition, the first origin offset that its log still proves; all below may have expired there.
func (j *judge) floors(p int32, expired map[int32]bool) []int64 {
	floors := make([]int64, j.rules.followers)
	for q := range floors {
		if !expired[int32(q)] {
			continue
		}
		floors[q] = j.until[p]
		if to := j.sides[q].links[p]; to != nil {
			floors[q] = min(floors[q], to.first)
		}
	}
	return floors
}

// judgeOnce reads and judges one window that ends at the positions in until; it is repeated where retention overtook the reading.
func (j *judge) judgeOnce(ctx context.Context) (Verdict, error) {
	j.window++
	began := time.Now()
	readBefore := j.origin.Records.Load() + j.follower.Records.Load()
	ends, sides, err := j.readWindow(ctx)
	if err != nil {
		return Verdict{}, err
	}
	if err := j.introduce(ctx); err != nil {
		return Verdict{}, err
	}
	verdict := j.compare(sides)
	verdict.Bounds.FollowerUntil = ends
	if err := j.locate(ctx, sides, ends, &verdict); err != nil {
		return Verdict{}, err
	}
	j.conclude(&verdict, time.Since(began), j.origin.Records.Load()+j.follower.Records.Load()-readBefore)
	j.reachedBefore, j.reached = j.reached, ends
	return verdict, nil
}

func (j *judge) readWindow(ctx context.Context) (wire.Offsets, originSides, error) {
	for try := 1; ; try++ {
		ends, err := j.follower.HighWatermarks(ctx)
		if err != nil {
			return nil, nil, err
		}
		if err := j.findReadable(ctx); err != nil {
			return nil, nil, err
		}
		sides, err := j.read(ctx, ends)
		var expired scan.Expired
		if err == nil || !errors.As(err, &expired) || try == expiredTries || !j.first {
			return ends, sides, err
		}
		j.forget()
	}
}

// forget starts the first window over.
func (j *judge) forget() {
	for q := range j.sides {
		j.sides[q] = newFollowerSide(&j.terms, int32(q))
	}
}

// findReadable looks where the logs begin now.
func (j *judge) findReadable(ctx context.Context) error {
	begins, err := j.origin.Begins(ctx)
	if err != nil {
		return err
	}
	for p := range j.readable {
		j.readable[p] = min(max(j.from[p], begins[int32(p)]), max(j.until[p], j.from[p]))
	}
	if !j.first {
		return nil
	}
	followerBegins, err := j.follower.Begins(ctx)
	if err != nil {
		return err
	}
	j.reached = wire.Offsets{}
	for q := range j.rules.followers {
		j.reached[q] = max(followerBegins[q], j.followerBegan[q])
	}
	j.reachedBefore = j.reached
	return nil
}
