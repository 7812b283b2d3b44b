package translate

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/offsets"
	"cutover/engine/position"
	"cutover/engine/wire"
)

const decidedWithin = 10 * time.Second // for transactions on the follower that were open when it was looked at

// view is the cluster as a translation sees it, read in an order that makes the answer safe: the mirror's positions
// first, then the follower's ends (waiting until nothing below them is undecided), then the ids of those who wrote.
type view struct {
	originBegin, originStable, originHigh wire.Offsets
	followerBegin                         wire.Offsets
	begins, ends                          wire.Offsets // of the follower, where the epoch's records may be
	mirror, start                         wire.Offsets
	producers                             map[int64]bool
}

func look(ctx context.Context, client *kgo.Client, epoch *Epoch) (*view, error) {
	seen := &view{}
	if err := seen.lookAtOrigin(ctx, client, epoch); err != nil {
		return nil, err
	}
	marks, err := offsets.Committed(ctx, client, epoch.Group, epoch.Origin.Name, epoch.Origin.ID)
	if err != nil {
		return nil, err
	}
	if err := seen.readMarks(epoch, marks); err != nil {
		return nil, err
	}
	if err := seen.lookAtFollower(ctx, client, epoch); err != nil {
		return nil, err
	}
	if len(epoch.ProducerIDs) > 0 {
		return seen, nil
	}
	// Everything below the ends is decided, so whoever wrote it stands in the positions by now.
	if marks, err = offsets.Committed(ctx, client, epoch.Group, epoch.Origin.Name, epoch.Origin.ID); err != nil {
		return nil, err
	}
	return seen, seen.readProducers(epoch, marks)
}

func (v *view) lookAtOrigin(ctx context.Context, client *kgo.Client, epoch *Epoch) (err error) {
	if v.originBegin, err = offsets.Begin(ctx, client, epoch.Origin.Name); err != nil {
		return err
	}
	if v.originHigh, err = offsets.High(ctx, client, epoch.Origin.Name); err != nil {
		return err
	}
	v.originStable, err = offsets.Stable(ctx, client, epoch.Origin.Name)
	return err
}

// lookAtFollower waits until the last stable offset has reached the end as first seen: EndTxn answers before its markers
// are written, and what the mirror's positions cover must be readable.
func (v *view) lookAtFollower(ctx context.Context, client *kgo.Client, epoch *Epoch) (err error) {
	if v.followerBegin, err = offsets.Begin(ctx, client, epoch.Follower.Name); err != nil {
		return err
	}
	v.begins = above(v.followerBegin, epoch.FollowerStart)
	high, err := offsets.High(ctx, client, epoch.Follower.Name)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(decidedWithin); ; {
		if v.ends, err = offsets.Stable(ctx, client, epoch.Follower.Name); err != nil {
			return err
		}
		behind := undecided(v.ends, high)
		if len(behind) == 0 || ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			return wire.Faultf("hanging_transaction", "transactions on %d partitions of %s stay open, so what they hold is not known", len(behind), epoch.Follower.Name).
				With(map[string]any{"topic": epoch.Follower.Name, "partitions": behind})
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// above gives the greater of both, by partition of the first.
func above(begins, starts wire.Offsets) wire.Offsets {
	higher := maps.Clone(begins)
	for q, from := range starts {
		higher[q] = max(higher[q], from)
	}
	return higher
}

// ended is the view of an epoch that is over: all that can be known of it is below its ends, and its mirror stands there. The
// logs begin where the present epoch's view says, which is of the same two topics.
func ended(ctx context.Context, client *kgo.Client, of, now *leg) (*view, error) {
	epoch := of.epoch
	begins := map[wire.TopicID]wire.Offsets{now.epoch.Origin.ID: now.view.originBegin, now.epoch.Follower.ID: now.view.followerBegin}
	seen := &view{originBegin: begins[epoch.Origin.ID], originStable: epoch.End, originHigh: epoch.End, followerBegin: begins[epoch.Follower.ID],
		ends: epoch.FollowerEnd, mirror: epoch.End, start: epoch.Start}
	seen.begins = above(seen.followerBegin, epoch.FollowerStart)
	if of.passed {
		return seen, nil
	}
	if len(epoch.ProducerIDs) > 0 && len(epoch.Start) > 0 {
		return seen, seen.readProducers(epoch, nil)
	}
	marks, err := offsets.Committed(ctx, client, epoch.Group, epoch.Origin.Name, epoch.Origin.ID)
	if err != nil {
		return nil, err
	}
	for p, end := range epoch.End {
		if _, known := marks[p]; !known && end > epoch.Start[p] {
			return nil, wire.Faultf("mirror_not_started", "group %s has no position on partition %d of %s (any more): who its lanes were must be given", epoch.Group, p, epoch.Origin.Name).
				With(map[string]any{"group": epoch.Group, "epoch": epoch.Epoch})
		}
	}
	if err := seen.readMarks(epoch, marks); err != nil {
		return nil, err
	}
	for p, end := range epoch.End {
		if seen.mirror[p] != end {
			return nil, wire.Faultf("foreign_positions", "group %s stands at %d on partition %d of %s, and its epoch ended at %d", epoch.Group, seen.mirror[p], p, epoch.Origin.Name, end).
				With(map[string]any{"group": epoch.Group, "partition": p})
		}
	}
	return seen, seen.readProducers(epoch, marks)
}

func undecided(stable, high wire.Offsets) []int32 {
	var behind []int32
	for q, end := range high {
		if stable[q] < end {
			behind = append(behind, q)
		}
	}
	slices.Sort(behind)
	return behind
}

func (v *view) readMarks(epoch *Epoch, marks map[int32]offsets.Position) error {
	v.mirror, v.start = wire.Offsets{}, wire.Offsets{}
	for p, one := range marks {
		mark, ours := position.Parse(one.Metadata)
		if !ours || mark.Run != epoch.RunID || mark.Epoch != epoch.Epoch {
			return wire.Faultf("foreign_positions", "group %s has a position on partition %d of %s that is not of this run", epoch.Group, p, epoch.Origin.Name).
				With(map[string]any{"group": epoch.Group, "partition": p})
		}
		v.mirror[p], v.start[p] = one.Offset, mark.Start
	}
	for p, from := range epoch.Start {
		v.start[p] = from
		if _, begun := v.mirror[p]; !begun && len(epoch.FollowerStart) > 0 {
			v.mirror[p] = from // the epoch began at a cut, and its mirror has not moved yet
		}
	}
	if len(v.mirror) == 0 {
		return wire.Faultf("mirror_not_started", "group %s has no positions on %s: nothing was mirrored under this run", epoch.Group, epoch.Origin.Name).
			With(map[string]any{"group": epoch.Group})
	}
	return nil
}

func (v *view) readProducers(epoch *Epoch, marks map[int32]offsets.Position) error {
	v.producers = map[int64]bool{}
	for _, id := range epoch.ProducerIDs {
		v.producers[id] = true
	}
	for _, one := range marks {
		mark, _ := position.Parse(one.Metadata)
		for _, id := range mark.Producers {
			v.producers[id] = true
		}
	}
	return nil
}

// spans guides guesses: on the follower the origin offsets run from the start vector to the mirror's position.
func (v *view) spans() map[int32]Span {
	spans := map[int32]Span{}
	for p, until := range v.mirror {
		spans[p] = Span{v.start[p], until}
	}
	return spans
}

func (v *view) targets(epoch *Epoch) map[int32]Target {
	targets := map[int32]Target{}
	for q := range epoch.Follower.Partitions {
		targets[q] = Target{Within: Range{v.begins[q], v.ends[q]}, Parents: epoch.parents(q)}
	}
	return targets
}
