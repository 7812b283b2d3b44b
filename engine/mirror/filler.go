package mirror

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/connect"
	"cutover/engine/partition"
	"cutover/engine/provenance"
	"cutover/engine/wire"
)

const (
	pollRecords  = 4000
	pollWait     = 100 * time.Millisecond
	idleCommit   = 200 * time.Millisecond // after which positions that passed only control records are committed
	rateSlice    = 20                     // a limited lane takes this part of a second at a time
	waitingInput = "waiting for records of the origin"
	waitingRate  = "the rate limit"
	waitingPause = "paused"
	waitingSpace = "the follower's acknowledgements"
	waitingTail  = "reading back what the follower has"
	waitingLanes = "no lane is dealt to this worker (a worker that died keeps its lanes until the group notices)"
)

// pairKey is an origin partition and a follower partition.
type pairKey struct{ origin, follower int32 }

// errWallsMoved says that reading stood at a wall that was moved on: what was read ahead of it is gone, so begin again.
var errWallsMoved = errors.New("the walls were moved on")

// filler reads the lane's origin partitions and fills the load that the next transaction will take.
type filler struct {
	config wire.Mirror
	router partition.Router
	client *kgo.Client
	limits *limits
	pace   *pace
	full   int64             // bytes at which a load is full
	skip   map[pairKey]int64 // records up to this origin offset are on the follower already

	mu      sync.Mutex
	changed *sync.Cond
	reading map[int32]int64 // next offset to read, by origin partition
	walls   wire.Offsets
	moved   bool // a wall that reading stood at was moved on
	current *load
	spare   *load
	since   time.Time // when the current load got its first content
	closed  bool
	failure error
	slowed  string
}

func newFiller(config wire.Mirror, limits *limits, resume map[int32]int64, skip map[pairKey]int64) (*filler, error) {
	router, err := route(config)
	if err != nil {
		return nil, err
	}
	at := map[int32]kgo.Offset{}
	for p, offset := range resume {
		at[p] = kgo.NewOffset().At(offset)
	}
	pace := newPace(config.Lanes)
	client, err := connect.Client(config.Connection, clientID(config, "reader"),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{config.Origin.Name: at}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(pollWait),
		kgo.FetchMaxBytes(pace.asked), kgo.FetchMaxPartitionBytes(pace.perPartition()), kgo.WithHooks(pace))
	if err != nil {
		return nil, err
	}
	limit := config.Follower.MaxMessageBytes
	f := &filler{config: config, router: router, client: client, limits: limits, pace: pace, full: loadBytes(config.Lanes), skip: skip,
		reading: resume, current: newLoad(limit), spare: newLoad(limit), slowed: waitingInput}
	f.changed = sync.NewCond(&f.mu)
	return f, nil
}

// stand puts the walls that hold when reading begins.
func (f *filler) stand(walls wire.Offsets) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.passed(walls); err != nil {
		return err
	}
	f.walls = walls
	f.rest()
	return nil
}

// run reads until the context ends or reading fails; either way take gives nothing more afterwards.
func (f *filler) run(ctx context.Context) {
	defer f.client.Close()
	err := f.loop(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed, f.failure = true, err
	f.changed.Broadcast()
}

func (f *filler) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		if !f.limits.unpaused(ctx, f.say) {
			return nil
		}
		polling, cancel := context.WithTimeout(ctx, pollWait)
		fetches := f.client.PollRecords(polling, f.limits.slice(pollRecords))
		cancel()
		if err := f.failed(ctx, fetches); err != nil {
			return err
		}
		if fetches.NumRecords() == 0 {
			if !f.idle() {
				return errWallsMoved
			}
			continue
		}
		f.limits.wait(ctx, fetches, f.say)
		if !f.fill(ctx, fetches) {
			return errWallsMoved
		}
		f.pace.adapt(f.client)
	}
	return nil
}

func (f *filler) failed(ctx context.Context, fetches kgo.Fetches) error {
	var lost *kgo.ErrDataLoss
	for _, failure := range fetches.Errors() {
		err := failure.Err
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &lost): // said once: the next session would go on as if nothing had been
			return wire.Faultf("origin_truncated", "partition %d of %s was cut off below offset %d, up to which it was read: %v",
				lost.Partition, f.config.Origin.Name, lost.ConsumedTo, err).With(map[string]any{"topic": lost.Topic, "partition": lost.Partition,
				"position": lost.ConsumedTo, "reset_to": lost.ResetTo})
		case errors.Is(err, context.DeadlineExceeded):
		case errors.Is(err, kerr.OffsetOutOfRange):
			f.mu.Lock()
			next := f.reading[failure.Partition]
			f.mu.Unlock()
			return &outOfRange{partition: failure.Partition, position: next}
		default:
			return connect.Needs(err, "READ", "topic", f.config.Origin.Name)
		}
	}
	return nil
}

// outOfRange says that the origin no longer (or not yet) has the offset to copy next.
type outOfRange struct {
	partition int32
	position  int64
}

func (o *outOfRange) Error() string { return "offset out of range" }

func (f *filler) say(why string) {
	f.mu.Lock()
	f.slowed = why
	f.mu.Unlock()
}

// idle lets take look at the clock while nothing comes; false when the walls were moved on.
func (f *filler) idle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.slowed = waitingInput
	f.changed.Broadcast()
	return !f.moved
}

// fill puts the records into the current load as there is room; false when the walls were moved on meanwhile.
func (f *filler) fill(ctx context.Context, fetches kgo.Fetches) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	why := f.slowed
	if why != waitingRate {
		why = ""
	}
	fetches.EachPartition(func(fetched kgo.FetchTopicPartition) {
		for rest := fetched.Records; len(rest) > 0 && f.room(ctx, &why) && !f.moved; {
			rest = f.add(fetched.Partition, rest)
		}
	})
	f.slowed = why
	f.changed.Broadcast()
	return !f.moved
}

// room waits until the current load is not full; false when the context ended first.
func (f *filler) room(ctx context.Context, why *string) bool {
	for f.current.bytes >= f.full && ctx.Err() == nil {
		*why, f.slowed = waitingSpace, waitingSpace
		f.changed.Broadcast()
		f.changed.Wait()
	}
	if f.current.empty() {
		f.since = time.Now()
	}
	return ctx.Err() == nil
}

// add takes records until the load is full or the wall is reached, and gives those that are left to add.
func (f *filler) add(from int32, records []*kgo.Record) []*kgo.Record {
	first, next := f.reading[from], f.reading[from]
	wall, walled := f.walls[from]
	for len(records) > 0 && f.current.bytes < f.full {
		record := records[0]
		if walled && record.Offset >= wall {
			next, records = max(next, wall), nil
			break
		}
		next, records = record.Offset+1, records[1:]
		if !record.Attrs.IsControl() {
			f.copy(record)
		}
	}
	if next > first {
		f.reading[from] = next
		f.current.read(from, first, next)
	}
	if walled && next >= wall {
		f.rest()
		return nil
	}
	return records
}

// rest stops fetching what stands at its wall.
func (f *filler) rest() {
	var there []int32
	for p, next := range f.reading {
		if wall, ok := f.walls[p]; ok && next >= wall {
			there = append(there, p)
		}
	}
	if len(there) > 0 {
		f.client.PauseFetchPartitions(map[string][]int32{f.config.Origin.Name: there})
	}
}

func (f *filler) copy(record *kgo.Record) {
	to := f.router.Target(record.Key, record.Partition, record.Offset)
	if through, some := f.skip[pairKey{record.Partition, to}]; some && record.Offset <= through {
		return
	}
	f.current.add(record, to, provenance.Origin{Run: f.config.RunID, Epoch: f.config.Epoch, Partition: record.Partition, Offset: record.Offset})
}

// route knows the follower partition of each origin record.
func route(config wire.Mirror) (partition.Router, error) {
	router, err := partition.NewRouter(config.Partitioner, config.NullKeys, config.Origin.Partitions, config.Follower.Partitions)
	if err != nil {
		return router, wire.Faultf("bad_configuration", "%v", err)
	}
	return router, nil
}

// take gives the load to commit, or nil once reading has ended; it waits until there is one worth a transaction.
func (f *filler) take(notBefore time.Time) *load {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.closed && !f.worth(notBefore) {
		f.changed.Wait()
	}
	if f.closed {
		return nil
	}
	taken := f.current
	f.current, f.spare = f.spare, nil
	f.changed.Broadcast()
	return taken
}

func (f *filler) worth(notBefore time.Time) bool {
	switch {
	case f.current.empty() || f.spare == nil:
		return false
	case f.walls != nil || f.current.bytes >= f.full/2:
		return true
	case f.current.records > 0:
		return !time.Now().Before(notBefore)
	}
	return time.Since(f.since) >= idleCommit
}

// wake lets take look at the clock again.
func (f *filler) wake() {
	f.mu.Lock()
	f.changed.Broadcast()
	f.mu.Unlock()
}

// give returns a committed load for reuse.
func (f *filler) give(back *load) {
	back.clear()
	f.mu.Lock()
	f.spare = back
	f.changed.Broadcast()
	f.mu.Unlock()
}

// drainTo puts walls before records not yet read, or takes them away (nil). A wall below what was read already is
// refused: it was copied.
func (f *filler) drainTo(walls wire.Offsets) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.passed(walls); err != nil {
		return err
	}
	for p, next := range f.reading {
		before, stood := f.walls[p]
		after, stands := walls[p]
		if stood && next >= before && (!stands || after > before) {
			f.moved = true
		}
	}
	f.walls = walls
	f.rest()
	f.changed.Broadcast()
	return nil
}

// allows says whether these walls could be put now.
func (f *filler) allows(walls wire.Offsets) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.passed(walls)
}

func (f *filler) passed(walls wire.Offsets) error {
	for p, next := range f.reading {
		if wall, ok := walls[p]; ok && next > wall {
			return wallPassed(p, next, wall)
		}
	}
	return nil
}

func wallPassed(partition int32, next, wall int64) error {
	return wire.Faultf("wall_passed", "partition %d was read up to %d, past the wall at %d", partition, next, wall).
		With(map[string]any{"partition": partition, "read": next, "wall": wall})
}

// standing gives the next offsets to read and why reading is not faster.
func (f *filler) standing() (wire.Offsets, string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	positions := wire.Offsets{}
	for p, next := range f.reading {
		positions[p] = next
	}
	return positions, f.slowed
}
