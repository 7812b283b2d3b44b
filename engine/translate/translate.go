package translate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/wire"
)

// Do answers one request through a client of the cluster.
func Do(ctx context.Context, client *kgo.Client, request Request) (*Answer, error) {
	began := time.Now()
	if err := request.check(); err != nil {
		return nil, err
	}
	last := &request.Epochs[len(request.Epochs)-1]
	for _, topic := range []wire.Topic{last.Origin, last.Follower} {
		if _, err := leadersOf(ctx, client, topic); err != nil {
			return nil, err
		}
	}
	work := &translation{request: &request, stats: &Stats{}}
	if err := work.lookAt(ctx, client); err != nil {
		return nil, err
	}
	answer, err := work.run(ctx)
	var disorder Disorder
	if errors.As(err, &disorder) {
		return nil, wire.Faultf("violation", "%v", err).With(map[string]any{"partition": disorder.Partition, "offset": disorder.At.At,
			"origin_partition": disorder.At.Parent, "origin_offset": disorder.At.Origin})
	}
	if err != nil {
		return nil, err
	}
	work.say(answer, time.Since(began))
	return answer, nil
}

// translation is one request at work.
type translation struct {
	request *Request
	legs    []*leg
	given   wire.Offsets // the vector, complete
	whole   Log          // of the side that is given
	stats   *Stats
	rounds  int
}

// lookAt makes a leg of each epoch. The present one is looked at first, since it is the one that moves; of an ended one that the
// vector has passed nothing needs to be known.
func (t *translation) lookAt(ctx context.Context, client *kgo.Client) error {
	epochs := t.request.Epochs
	for i := range epochs {
		t.legs = append(t.legs, &leg{epoch: &epochs[i], forward: t.request.forward(&epochs[i])})
	}
	now := t.last()
	var err error
	if now.view, err = look(ctx, client, now.epoch); err != nil {
		return err
	}
	given, _ := t.topics()
	t.whole = NewWhole(client, given, t.stats)
	if err := t.complete(given); err != nil {
		return err
	}
	for _, each := range t.legs {
		if each != now {
			each.passed = each.isPassed(t.given)
			if each.view, err = ended(ctx, client, each, now); err != nil {
				return err
			}
		}
		mirrored := NewMirrored(client, each.epoch.Follower, each.epoch.RunID, each.epoch.Epoch, each.view.producers, t.stats)
		each.mirrored, each.wide = mirrored, mirrored.Wide()
	}
	return nil
}

// complete fills in what is missing of the vector.
func (t *translation) complete(topic wire.Topic) (err error) {
	begins, _ := t.begins()
	stable, high := t.last().view.originStable, t.last().view.originHigh
	if !t.last().forward {
		stable, high = t.last().view.ends, t.last().view.ends
	}
	t.given, err = t.request.complete(topic, begins, stable, high)
	return err
}

func (t *translation) last() *leg { return t.legs[len(t.legs)-1] }

// topics gives the one that the vector is of, and the other.
func (t *translation) topics() (given, other wire.Topic) {
	if last := t.last(); !last.forward {
		return last.epoch.Follower, last.epoch.Origin
	}
	return t.last().epoch.Origin, t.last().epoch.Follower
}

// begins gives where the logs of both topics begin.
func (t *translation) begins() (given, other wire.Offsets) {
	if v := t.last().view; !t.last().forward {
		return v.followerBegin, v.originBegin
	}
	return t.last().view.originBegin, t.last().view.followerBegin
}

func (t *translation) run(ctx context.Context) (*Answer, error) {
	answer := &Answer{Strange: map[int32][]int32{}, Behind: map[int32]Behind{}}
	if err := t.divide(ctx, answer); err != nil {
		return nil, err
	}
	if err := t.behind(ctx, answer); err != nil {
		return nil, err
	}
	count := t.request.Duplicates != "skip"
	for _, each := range t.legs {
		rounds, err := each.settle(ctx, count)
		t.rounds += rounds
		if err != nil {
			return nil, err
		}
		t.note(each, answer)
	}
	answer.Positions = compose(t.legs)
	_, topic := t.topics()
	_, begins := t.begins()
	gone := expired(answer.Positions, begins)
	if err := t.request.accept(topic, gone); err != nil {
		return nil, err
	}
	for p := range gone {
		answer.Positions[p] = begins[p]
	}
	if count {
		return answer, t.count(ctx, answer)
	}
	return answer, nil
}

// divide cuts the vector to each epoch; it must lie within the log, and not before the first epoch.
func (t *translation) divide(ctx context.Context, answer *Answer) error {
	topic, _ := t.topics()
	begins, _ := t.begins()
	answer.Given, answer.Lost = maps.Clone(t.given), wire.Offsets{}
	for i, each := range t.legs {
		from, until, _, _ := each.span()
		if i == 0 {
			from = nil // what lies before all epochs is looked at below
		}
		each.given = within(answer.Given, from, until)
		each.lose(begins, answer)
	}
	if err := t.request.accept(topic, answer.Lost); err != nil {
		return err
	}
	return t.movable(ctx, begins)
}

// movable refuses positions from before the first epoch: what lies between was never mirrored.
func (t *translation) movable(ctx context.Context, begins wire.Offsets) error {
	first, early := t.legs[0], map[int32]Range{}
	starts := first.view.start
	if !first.forward {
		starts = first.epoch.FollowerStart
	}
	for p, start := range starts {
		if first.given[p] < start {
			early[p] = Range{max(first.given[p], begins[p]), start}
		}
	}
	holding, err := t.holding(ctx, early)
	if err != nil || len(holding) == 0 {
		return err
	}
	topic, _ := t.topics()
	passed := wire.Offsets{}
	for _, p := range holding {
		passed[p] = starts[p]
	}
	return wire.Faultf("not_movable", "%d partitions of %s: the group's positions lie before the mirror's start, and the records between were never mirrored", len(holding), topic.Name).
		With(map[string]any{"topic": topic.Name, "partitions": holding, "start": numbered(passed)})
}

// behind tells on which origin partitions the mirror has not passed the group yet. Markers and aborted records that alone
// lie between do not count. A group on the follower cannot be ahead of the mirror, nor can any in an epoch that has ended.
func (t *translation) behind(ctx context.Context, answer *Answer) error {
	last := t.last()
	v, epoch := last.view, last.epoch
	if !last.forward && len(v.mirror) != int(epoch.Origin.Partitions) {
		return wire.Faultf("mirror_not_started", "group %s has positions on %d of %d partitions of %s", epoch.Group, len(v.mirror), epoch.Origin.Partitions, epoch.Origin.Name).
			With(map[string]any{"group": epoch.Group})
	}
	between := map[int32]Range{}
	for p, position := range last.given {
		mirror, known := v.mirror[p]
		switch {
		case !last.forward:
		case !known:
			answer.Behind[p] = Behind{position, -1}
		case mirror >= position:
		case v.originStable[p] < position:
			answer.Behind[p] = Behind{position, mirror}
		default:
			between[p] = Range{max(mirror, v.originBegin[p]), position}
		}
	}
	holding, err := t.holding(ctx, between)
	for _, p := range holding {
		answer.Behind[p] = Behind{last.given[p], v.mirror[p]}
	}
	answer.Final = len(answer.Behind) == 0
	return err
}

// holding tells which ranges of the side that is given hold at least one data record.
func (t *translation) holding(ctx context.Context, ranges map[int32]Range) ([]int32, error) {
	var holding []int32
	rounds, err := Scan(ctx, t.whole, ranges, func(p int32, _ Seen) bool {
		holding = append(holding, p)
		return true
	})
	t.rounds += rounds
	slices.Sort(holding)
	return holding, err
}

// note adds what one epoch's search met on its way.
func (t *translation) note(from *leg, answer *Answer) {
	for q, each := range from.found {
		for _, p := range each.Strange {
			if !slices.Contains(answer.Strange[q], p) {
				answer.Strange[q] = append(answer.Strange[q], p)
			}
		}
	}
	for _, q := range from.unproved() {
		if !slices.Contains(answer.Unproved, q) {
			answer.Unproved = append(answer.Unproved, q)
		}
	}
	slices.Sort(answer.Unproved)
}

// count adds up what will be read again, in all epochs.
func (t *translation) count(ctx context.Context, answer *Answer) error {
	answer.Duplicates = wire.Offsets{}
	for _, each := range t.legs {
		counted, rounds, err := each.again(ctx, answer.Positions)
		t.rounds += rounds
		if err != nil {
			return err
		}
		for p, records := range counted {
			answer.Duplicates[p] += records
		}
	}
	return nil
}

func (t *translation) say(answer *Answer, took time.Duration) {
	for _, each := range t.legs {
		answer.Epochs = append(answer.Epochs, each.part())
	}
	last := answer.Epochs[len(answer.Epochs)-1]
	answer.Mirror, answer.Start, answer.Begins, answer.Ends, answer.ProducerIDs = last.Mirror, last.Start, last.Begins, last.Ends, last.ProducerIDs
	answer.Rounds, answer.Requests = t.rounds, t.stats.Requests.Load()
	answer.Records, answer.Bytes = t.stats.Records.Load(), t.stats.Bytes.Load()
	answer.Milliseconds = float64(took.Microseconds()) / 1000
}

// expired tells which positions lie below the log start, and by how many offsets.
func expired(positions, begins wire.Offsets) wire.Offsets {
	lost := wire.Offsets{}
	for p, position := range positions {
		if position < begins[p] {
			lost[p] = begins[p] - position
		}
	}
	return lost
}
