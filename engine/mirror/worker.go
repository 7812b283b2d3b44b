package mirror

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

const (
	reportEvery     = time.Second
	contestedTakes  = 5 // fences of one lane within contestedWithin that make it contested
	contestedWithin = time.Minute
)

// holding is a lane that this worker holds, and how to let go of it.
type holding struct {
	lane *lane
	stop context.CancelFunc
	done chan struct{}
}

// worker holds the lanes that the group dealt to it and answers the driver.
type worker struct {
	config  wire.Mirror
	cluster connect.Cluster
	client  *kgo.Client // for watching topics and offsets; no records
	to      *wire.Server
	limits  *limits
	counts  *counts
	fatal   chan error

	mu      sync.Mutex
	ctx     context.Context
	held    map[int32]*holding
	fences  map[int32][]time.Time // of each lane, the newest ones
	walls   wire.Offsets
	cutSaid bool
	member  *kgo.Client

	ends             wire.Offsets // of the origin, as last seen
	answered         time.Time    // when the cluster last answered the watch
	lastRecords      int64
	lastBytes        int64
	recordsPerSecond float64
	bytesPerSecond   float64
}

func newWorker(config wire.Mirror, cluster connect.Cluster, client *kgo.Client, to *wire.Server) *worker {
	return &worker{config: config, cluster: cluster, client: client, to: to, limits: newLimits(config.Rate), counts: &counts{},
		fatal: make(chan error, 1), held: map[int32]*holding{}, fences: map[int32][]time.Time{}, walls: config.Walls, answered: time.Now()}
}

func (w *worker) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w.ctx = ctx
	member, err := join(w.config, w.take, func(lanes []int32) { w.release(lanes) })
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.member = member
	w.mu.Unlock()
	defer member.Close() // leaves the group, so that others take the lanes at once
	defer w.releaseAll()
	go w.poll(ctx, member)
	go w.watch(ctx)
	reason, err := w.serve(ctx)
	cancel() // no lane is taken any more; those held end after the transaction that has begun
	if err != nil {
		return err
	}
	w.to.Emit(wire.Stopped{Event: "stopped", Reason: reason, Positions: w.releaseAll()})
	return nil
}

// serve answers commands and reports until something ends the worker.
func (w *worker) serve(ctx context.Context) (string, error) {
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	cuts := time.NewTicker(time.Millisecond) // producers may be held until the cut is said
	defer cuts.Stop()
	for began := time.Now(); ; {
		select {
		case err := <-w.fatal:
			return "", err
		case command := <-w.to.Commands:
			if command.Name == "stop" {
				w.to.Reply(command, nil, nil)
				return "asked", nil
			}
			result, err := w.obey(command)
			w.to.Reply(command, result, err)
		case <-w.to.Grace:
			return "nobody connected for the grace time", nil
		case <-ctx.Done():
			return "signal", nil
		case <-cuts.C:
			w.sayCut()
		case now := <-tick.C:
			w.to.Emit(w.progress(now.Sub(began)))
			began = now
		}
	}
}

// poll keeps the membership client going; it gets no records, only errors worth ending for.
func (w *worker) poll(ctx context.Context, member *kgo.Client) {
	for ctx.Err() == nil {
		fetches := member.PollFetches(ctx)
		for _, failure := range fetches.Errors() {
			var joining *kgo.ErrGroupSession
			if errors.As(failure.Err, &joining) {
				w.groupFailed(joining.Err)
			}
		}
	}
}

func (w *worker) groupFailed(err error) {
	switch {
	case errors.Is(err, kerr.InconsistentGroupProtocol):
		w.end(wire.Faultf("lanes_differ", "another worker of group %s counts other lanes than %d", w.config.Group, w.config.Lanes))
	case errors.Is(err, kerr.GroupAuthorizationFailed):
		w.end(connect.Needs(err, "READ", "group", w.config.Group))
	}
}

// end gives the first fatal error to serve.
func (w *worker) end(err error) {
	select {
	case w.fatal <- err:
	default:
	}
}

// take starts the lanes that were assigned.
func (w *worker) take(lanes []int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, number := range lanes {
		if _, mine := w.held[number]; !mine && w.ctx.Err() == nil {
			w.start(number)
		}
	}
	w.cutSaid = false
}

// start runs one lane; the lock is held.
func (w *worker) start(number int32) {
	ctx, stop := context.WithCancel(w.ctx)
	one := newLane(w.config, w.cluster, number, w.limits, w.counts, w.to.Emit, w.walls)
	held := &holding{lane: one, stop: stop, done: make(chan struct{})}
	w.held[number] = held
	w.to.Emit(wire.LaneChange{Event: "lane", Lane: number, Change: "taken"})
	go func() {
		defer close(held.done)
		err := one.run(ctx)
		switch {
		case errors.Is(err, transaction.ErrFenced):
			go w.fenced(held, err)
		case err != nil:
			w.end(err)
		}
	}()
}

// releaseAll ends all lanes and gives the positions they had committed.
func (w *worker) releaseAll() wire.Offsets {
	w.mu.Lock()
	lanes := slices.Collect(maps.Keys(w.held))
	w.mu.Unlock()
	return w.release(lanes)
}

// release ends some lanes, finishing a transaction that has begun, and gives the positions they had committed.
func (w *worker) release(lanes []int32) wire.Offsets {
	held := map[int32]*holding{}
	w.mu.Lock()
	for _, number := range lanes {
		if one, mine := w.held[number]; mine {
			held[number] = one
			delete(w.held, number)
		}
	}
	w.mu.Unlock()
	for _, one := range held {
		one.stop()
	}
	positions := wire.Offsets{}
	for number, one := range held {
		<-one.done
		maps.Copy(positions, one.lane.stands().committed)
		w.to.Emit(wire.LaneChange{Event: "lane", Lane: number, Change: "released"})
	}
	return positions
}

// fenced decides what it means that another session took a lane: while the group still says that it is ours, the
// coordinator ended a transaction of ours that took too long, and we take it again; else its new holder has it, and
// the group will tell us so.
func (w *worker) fenced(held *holding, reason error) {
	number := held.lane.number
	w.to.Emit(wire.LaneChange{Event: "lane", Lane: number, Change: "fenced", Reason: reason.Error()})
	<-held.done
	if w.contested(number) {
		w.end(wire.Faultf("lane_contested", "lane %d was taken from this worker more than %d times within %s: two runs use one name",
			number, contestedTakes, contestedWithin).With(map[string]any{"lane": number}))
		return
	}
	for w.holds(held) {
		if w.stillMember() {
			w.retake(held)
			return
		}
		sleep(w.ctx, heartbeat)
	}
}

func (w *worker) contested(number int32) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	fences := append(w.fences[number], time.Now())
	fences = fences[max(0, len(fences)-contestedTakes-1):]
	w.fences[number] = fences
	return len(fences) > contestedTakes && time.Since(fences[0]) < contestedWithin
}

func (w *worker) holds(held *holding) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[held.lane.number] == held && w.ctx.Err() == nil
}

func (w *worker) retake(held *holding) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.held[held.lane.number] == held && w.ctx.Err() == nil {
		w.start(held.lane.number)
	}
}

// stillMember asks the group's coordinator, not our memory, whether this generation is the current one.
func (w *worker) stillMember() bool {
	w.mu.Lock()
	member := w.member
	w.mu.Unlock()
	if member == nil {
		return false
	}
	id, generation := member.GroupMetadata()
	request := kmsg.NewPtrHeartbeatRequest()
	request.Group, request.MemberID, request.Generation = w.config.Group, id, generation
	ctx, cancel := context.WithTimeout(w.ctx, 2*time.Second)
	defer cancel()
	answer, err := request.RequestWith(ctx, w.client)
	return err == nil && answer.ErrorCode == 0
}
