package mirror

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"cutover/engine/connect"
	"cutover/engine/position"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

// States of a lane.
const (
	recovering = "recovering"
	copying    = "copying"
	drained    = "drained"
)

// errUnclean says that a commit went through over a broken connection: true, but the session must not be used again.
var errUnclean = errors.New("a connection broke under the transaction")

// lane copies a fixed set of origin partitions under one transactional id. Whoever holds it fences first, recovers
// from the follower's log, and then commits one transaction after the other; any doubt sends it back to the start.
type lane struct {
	config     wire.Mirror
	cluster    connect.Cluster
	number     int32
	partitions []int32
	limits     *limits
	counts     *counts
	commits    atomic.Int64
	emit       func(any)

	mu        sync.Mutex
	walls     wire.Offsets
	filler    *filler
	state     string
	trouble   string // why the last session ended, while there is no new one
	producer  int64
	epoch     int16
	newestMs  int64 // greatest timestamp of the last transaction's records; before the first, when the lane was taken
	committed wire.Offsets
	starts    map[int32]int64
	producers map[int32][]int64
	scratch   bytes.Buffer // of the compression; used by one goroutine
}

func newLane(config wire.Mirror, cluster connect.Cluster, number int32, limits *limits, counts *counts, emit func(any), walls wire.Offsets) *lane {
	l := &lane{config: config, cluster: cluster, number: number, limits: limits, counts: counts, emit: emit,
		state: recovering, walls: walls, committed: wire.Offsets{}, newestMs: time.Now().UnixMilli()}
	for p := number; p < config.Origin.Partitions; p += config.Lanes {
		l.partitions = append(l.partitions, p)
	}
	return l
}

// placement names what decides where a record goes.
func placement(config wire.Mirror) string { return config.Partitioner + "/" + config.NullKeys }

func (l *lane) transactionalID() string {
	return fmt.Sprintf("cutover.%s.%d.%d", l.config.Run, l.config.Epoch, l.number)
}

func clientID(config wire.Mirror, part string) string {
	return fmt.Sprintf("cutover.%s.%s.%s", config.Run, config.Worker, part)
}

// attempt is one session: fence, see that the epoch is still ours, recover, copy.
func (l *lane) attempt(ctx context.Context) error {
	session, err := transaction.Open(ctx, l.config.Connection, l.cluster, clientID(l.config, "lane"), l.transactionalID(), l.config.TransactionTimeoutMs)
	if err != nil {
		return err
	}
	defer session.Close()
	if err := stillOurs(ctx, session.Client, l.config); err != nil {
		return err
	}
	if _, err := leadersOf(ctx, session.Client, l.config.Origin); err != nil {
		return err
	}
	found, err := recoverLane(ctx, session, l)
	if err != nil {
		return err
	}
	l.counts.recoveries.Add(1)
	l.emit(wire.LaneChange{Event: "lane", Lane: l.number, Change: "recovered", Facts: found.facts()})
	leaders, err := leadersOf(ctx, session.Client, l.config.Follower)
	if err != nil {
		return err
	}
	l.adopt(found, session)
	if err := l.pin(ctx, session, leaders, found); err != nil {
		return err
	}
	filling, err := newFiller(l.config, l.limits, maps.Clone(found.resume), found.skip)
	if err != nil {
		return err
	}
	return l.copy(ctx, session, leaders, filling)
}

// pin commits the start of each partition that has no position yet, so that a second try starts at the same place.
func (l *lane) pin(ctx context.Context, session *transaction.Session, leaders map[int32]int32, found *found) error {
	first := newLoad(l.config.Follower.MaxMessageBytes)
	for _, p := range found.fresh {
		first.read(p, found.resume[p], found.resume[p])
	}
	if first.empty() {
		return nil
	}
	return l.commit(ctx, session, leaders, first)
}

func (l *lane) adopt(found *found, session *transaction.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.starts, l.producers = found.starts, found.producers
	for p, offset := range found.resume {
		if !slices.Contains(found.fresh, p) { // those are committed once they are pinned, not before
			l.committed[p] = offset
		}
	}
	l.producer, l.epoch = session.Producer()
}

// read hands the walls to whoever reads now, so that none is put between the two.
func (l *lane) read(filling *filler) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := filling.stand(l.walls); err != nil {
		return err
	}
	l.state, l.filler, l.trouble = copying, filling, ""
	return nil
}

func (l *lane) unread() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.state, l.filler = recovering, nil
}

// copy commits load after load until the context ends, reading fails, or a transaction is in doubt.
func (l *lane) copy(ctx context.Context, session *transaction.Session, leaders map[int32]int32, filling *filler) error {
	if err := l.read(filling); err != nil {
		filling.client.Close()
		return err
	}
	defer l.unread()
	reading, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		filling.run(reading)
	}()
	defer func() { stop(); filling.wake(); <-ended }()
	defer context.AfterFunc(reading, filling.wake)()
	interval := time.Duration(l.config.MinIntervalMs) * time.Millisecond
	for notBefore := time.Now(); ; {
		due := time.AfterFunc(time.Until(notBefore), filling.wake)
		next := filling.take(notBefore)
		due.Stop()
		if next == nil {
			return l.ending(ctx, session, filling)
		}
		notBefore = time.Now().Add(interval)
		// A stop lets the transaction that has begun end: at most one call's deadline each.
		if err := l.commit(context.WithoutCancel(ctx), session, leaders, next); err != nil {
			return err
		}
		filling.give(next)
		if !session.Clean() {
			return errUnclean
		}
	}
}

// ending names why reading ended.
func (l *lane) ending(ctx context.Context, session *transaction.Session, filling *filler) error {
	filling.mu.Lock()
	failure := filling.failure
	filling.mu.Unlock()
	var gone *outOfRange
	if errors.As(failure, &gone) {
		return outran(ctx, session.Client, l.config.Origin, gone)
	}
	return failure
}

// commit is one transaction: positions first (they wait for the transaction before to settle), records, end.
func (l *lane) commit(ctx context.Context, session *transaction.Session, leaders map[int32]int32, next *load) error {
	began := time.Now()
	producer, _ := session.Producer()
	if err := session.CommitOffsets(ctx, l.config.Group, l.config.Origin.Name, l.config.Origin.ID, l.positions(next, producer)); err != nil {
		return err
	}
	if next.records > 0 {
		if err := l.produce(ctx, session, leaders, next); err != nil {
			return err
		}
	}
	if err := session.End(ctx, true); err != nil {
		return err
	}
	l.commits.Add(1)
	l.counts.transaction(next, time.Since(began))
	l.mu.Lock()
	defer l.mu.Unlock()
	if next.records > 0 {
		l.newestMs = next.newest
	}
	for p, read := range next.spans {
		l.committed[p] = read.next
	}
	l.producer, l.epoch = session.Producer()
	return nil
}

func (l *lane) produce(ctx context.Context, session *transaction.Session, leaders map[int32]int32, next *load) error {
	touched := make([]int32, 0, len(next.queues))
	for p := range next.queues {
		touched = append(touched, p)
	}
	if err := session.AddPartitions(ctx, l.config.Follower.Name, touched); err != nil {
		return err
	}
	for _, round := range next.rounds() {
		byBroker := map[int32][]*transaction.Batch{}
		for _, one := range round {
			one.compress(&l.scratch)
			if limit := int(l.config.Follower.MaxMessageBytes); limit > 0 && len(one.Bytes) > limit {
				return tooLarge(l.config, one, "its limit is "+strconv.Itoa(limit))
			}
			leader := leaders[one.Partition]
			byBroker[leader] = append(byBroker[leader], &one.Batch)
		}
		if err := session.Produce(ctx, l.config.Follower.Name, l.config.Follower.ID, byBroker); err != nil {
			return unwelcome(l.config, round, err)
		}
	}
	return nil
}

// positions are what the transaction commits: the next offset of each partition read, with its mark.
func (l *lane) positions(next *load, producer int64) []transaction.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	positions := make([]transaction.Position, 0, len(next.spans))
	for p, read := range next.spans {
		if !slices.Contains(l.producers[p], producer) {
			l.producers[p] = append(l.producers[p], producer)
		}
		mark := position.Mark{Run: l.config.RunID, Epoch: l.config.Epoch, Start: l.starts[p], From: read.from,
			Lanes: l.config.Lanes, Placement: placement(l.config), Producers: l.producers[p]}
		positions = append(positions, transaction.Position{Partition: p, Offset: read.next, Metadata: mark.String()})
	}
	return positions
}

// drainTo puts walls for this lane; they also hold for its next session.
func (l *lane) drainTo(walls wire.Offsets) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filler != nil {
		if err := l.filler.drainTo(walls); err != nil {
			return err
		}
	}
	l.walls = walls
	return nil
}

// allows says whether these walls could be put now.
func (l *lane) allows(walls wire.Offsets) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p, next := range l.committed {
		if wall, ok := walls[p]; ok && next > wall {
			return wallPassed(p, next, wall)
		}
	}
	if l.filler == nil {
		return nil
	}
	return l.filler.allows(walls)
}

// standing is a lane as it stands.
type standing struct {
	status    wire.LaneStatus
	reading   wire.Offsets // next offsets to read
	committed wire.Offsets
	slowed    string
	newestMs  int64
}

// stands tells how the lane stands; it is drained when all below its walls, and nothing else, is committed.
func (l *lane) stands() standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	reading, slowed := wire.Offsets{}, waitingTail
	if l.trouble != "" {
		slowed = l.trouble
	}
	if l.filler != nil {
		reading, slowed = l.filler.standing()
	}
	state := l.state
	if state == copying && l.walls != nil && l.reached() {
		state, slowed = drained, ""
	}
	return standing{
		status: wire.LaneStatus{Lane: l.number, Partitions: l.partitions, TransactionalID: l.transactionalID(),
			ProducerID: l.producer, ProducerEpoch: l.epoch, State: state},
		reading: reading, committed: maps.Clone(l.committed), slowed: slowed, newestMs: l.newestMs,
	}
}

func (l *lane) reached() bool {
	for _, p := range l.partitions {
		if l.committed[p] != l.walls[p] {
			return false
		}
	}
	return true
}
