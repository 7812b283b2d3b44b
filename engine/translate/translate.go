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
	epoch, err := request.epoch()
	if err != nil {
		return nil, err
	}
	for _, topic := range []wire.Topic{epoch.Origin, epoch.Follower} {
		if _, err := leadersOf(ctx, client, topic); err != nil {
			return nil, err
		}
	}
	seen, err := look(ctx, client, epoch)
	if err != nil {
		return nil, err
	}
	work := &translation{request: &request, epoch: epoch, view: seen, stats: &Stats{}}
	work.mirrored = NewMirrored(client, epoch.Follower, epoch.RunID, epoch.Epoch, seen.producers, work.stats)
	work.whole = NewWhole(client, epoch.Origin, work.stats)
	answer, err := work.run(ctx)
	var disorder Disorder
	if errors.As(err, &disorder) {
		return nil, wire.Faultf("violation", "%v", err).With(map[string]any{"topic": epoch.Follower.Name, "partition": disorder.Partition, "offset": disorder.At.At,
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
	request  *Request
	epoch    *Epoch
	view     *view
	mirrored *Reader
	whole    *Reader
	stats    *Stats
	rounds   int
}

func (t *translation) run(ctx context.Context) (*Answer, error) {
	if t.request.Direction == OriginToFollower {
		return t.toFollower(ctx)
	}
	return t.toOrigin(ctx)
}

func (t *translation) say(answer *Answer, took time.Duration) {
	answer.Mirror, answer.Start, answer.Begins, answer.Ends = t.view.mirror, t.view.start, t.view.begins, t.view.ends
	answer.ProducerIDs = slices.Sorted(maps.Keys(t.view.producers))
	answer.Rounds, answer.Requests = t.rounds, t.stats.Requests.Load()
	answer.Records, answer.Bytes = t.stats.Records.Load(), t.stats.Bytes.Load()
	answer.Milliseconds = float64(took.Microseconds()) / 1000
}

// toFollower: in each follower partition the first record whose origin is unread.
func (t *translation) toFollower(ctx context.Context) (*Answer, error) {
	given, lost, err := t.bounds(ctx)
	if err != nil {
		return nil, err
	}
	behind, err := t.behind(ctx, given)
	if err != nil {
		return nil, err
	}
	count := t.request.Duplicates != "skip"
	goal := Goal{Bounds: given, Spans: t.view.spans(), All: count}
	found, rounds, err := Search(ctx, t.mirrored, t.view.targets(t.epoch), goal)
	t.rounds += rounds
	if err != nil {
		return nil, err
	}
	answer := &Answer{Positions: wire.Offsets{}, Given: given, Lost: lost, Final: len(behind) == 0, Behind: behind, Strange: map[int32][]int32{}}
	for q, each := range found {
		answer.Positions[q] = each.Answer
		if len(each.Strange) > 0 {
			answer.Strange[q] = each.Strange
		}
		if t.view.begins[q] > t.epoch.FollowerStart[q] && len(each.Unread) > 0 {
			answer.Unproved = append(answer.Unproved, q)
		}
	}
	slices.Sort(answer.Unproved)
	if !count {
		return answer, nil
	}
	counted, rounds, err := ReadAgain(ctx, t.mirrored.Wide(), found, given)
	t.rounds += rounds
	answer.Duplicates = counted
	return answer, err
}

// bounds settles the vector to translate: complete, within the log, and not before the epoch.
func (t *translation) bounds(ctx context.Context) (given, lost wire.Offsets, err error) {
	v := t.view
	given, lost, err = t.request.complete(t.epoch.Origin, v.originBegin, v.originStable, v.originHigh)
	if err != nil {
		return nil, nil, err
	}
	maps.DeleteFunc(lost, func(p int32, _ int64) bool {
		start, known := v.start[p]
		return known && given[p] >= start // expired on the origin, but the follower has what was mirrored
	})
	if err := t.request.clamp(t.epoch.Origin, given, lost, v.originBegin); err != nil {
		return nil, nil, err
	}
	early := map[int32]Range{}
	for p, start := range v.start {
		if given[p] < start {
			early[p] = Range{max(given[p], v.originBegin[p]), start}
		}
	}
	holding, err := t.holding(ctx, early)
	if err != nil {
		return nil, nil, err
	}
	if len(holding) > 0 {
		starts := wire.Offsets{}
		for _, p := range holding {
			starts[p] = v.start[p]
		}
		return nil, nil, wire.Faultf("not_movable", "%d partitions of %s: the group's positions lie before the mirror's start, and the records between were never mirrored", len(holding), t.epoch.Origin.Name).
			With(map[string]any{"topic": t.epoch.Origin.Name, "partitions": holding, "start": numbered(starts)})
	}
	return given, lost, nil
}

// behind tells on which origin partitions the mirror has not passed the group yet. Markers and aborted records that alone
// lie between do not count.
func (t *translation) behind(ctx context.Context, given wire.Offsets) (map[int32]Behind, error) {
	behind, between := map[int32]Behind{}, map[int32]Range{}
	for p, position := range given {
		mirror, known := t.view.mirror[p]
		switch {
		case !known:
			behind[p] = Behind{position, -1}
		case mirror >= position:
		case t.view.originStable[p] < position:
			behind[p] = Behind{position, mirror}
		default:
			between[p] = Range{max(mirror, t.view.originBegin[p]), position}
		}
	}
	holding, err := t.holding(ctx, between)
	for _, p := range holding {
		behind[p] = Behind{given[p], t.view.mirror[p]}
	}
	return behind, err
}

// holding tells which ranges of the origin hold at least one data record.
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

// toOrigin: per origin partition the least of the first unread records of the follower partitions.
func (t *translation) toOrigin(ctx context.Context) (*Answer, error) {
	v := t.view
	given, lost, err := t.request.complete(t.epoch.Follower, v.begins, v.ends, v.ends)
	if err != nil {
		return nil, err
	}
	if err := t.request.clamp(t.epoch.Follower, given, lost, v.begins); err != nil {
		return nil, err
	}
	if len(v.mirror) != int(t.epoch.Origin.Partitions) {
		return nil, wire.Faultf("mirror_not_started", "group %s has positions on %d of %d partitions of %s", t.epoch.Group, len(v.mirror), t.epoch.Origin.Partitions, t.epoch.Origin.Name).
			With(map[string]any{"group": t.epoch.Group})
	}
	targets := v.targets(t.epoch)
	for q, target := range targets {
		target.Within.From = given[q]
		targets[q] = target
	}
	first, rounds, err := FirstUnread(ctx, t.mirrored, targets)
	t.rounds += rounds
	if err != nil {
		return nil, err
	}
	answer := &Answer{Positions: Least(first, v.mirror), Given: given, Lost: lost, Final: true, Behind: map[int32]Behind{}, Strange: map[int32][]int32{}}
	if err := t.request.clamp(t.epoch.Origin, answer.Positions, expired(answer.Positions, v.originBegin), v.originBegin); err != nil {
		return nil, err
	}
	if t.request.Duplicates == "skip" {
		return answer, nil
	}
	counted, rounds, err := ReadAgainOnOrigin(ctx, t.mirrored, t.mirrored.Wide(), v.targets(t.epoch), given, answer.Positions, v.spans())
	t.rounds += rounds
	answer.Duplicates = counted
	return answer, err
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
