package audit

import (
	"context"
	"maps"
	"slices"
	"time"

	"cutover/engine/wire"
)

const behindFor = 30 * time.Second // for the group's positions to reach what the follower shows already

// begin finds where the epoch began on both sides and who its writers are.
func (j *judge) begin(ctx context.Context) error {
	if err := j.ended(ctx); err != nil {
		return err
	}
	if err := j.lookFirst(ctx); err != nil {
		return err
	}
	if len(j.marks) == 0 && (j.config.From == nil || j.config.Until == nil) {
		return wire.Faultf("nothing_mirrored", "group %s has no position on %s: no mirror of this run and epoch has committed anything",
			j.config.Group, j.config.Origin.Name).With(map[string]any{"group": j.config.Group, "topic": j.config.Origin.Name})
	}
	for q, offset := range j.config.FollowerFrom {
		if q >= 0 && q < j.rules.followers {
			j.followerBegan[q] = offset
		}
	}
	return j.checkUntil(ctx)
}

// lookFirst looks once more where nothing is found: the group's very first positions may still be pending.
func (j *judge) lookFirst(ctx context.Context) error {
	if err := j.look(ctx); err != nil || len(j.marks) > 0 {
		return err
	}
	if _, err := settledPositionsOf(ctx, j.client(), j.config.Group, j.config.Origin); err != nil {
		return err
	}
	return j.look(ctx)
}

// checkUntil refuses an end that the origin has not reached: it would be waited for in vain.
func (j *judge) checkUntil(ctx context.Context) error {
	if len(j.config.Until) == 0 {
		return nil
	}
	ends, err := j.origin.HighWatermarks(ctx)
	if err != nil {
		return err
	}
	for p, until := range j.config.Until {
		if end, there := ends[p]; !there || until > end {
			return wire.Faultf("bad_configuration", "until names offset %d of partition %d of %s, which ends at %d", until, p, j.config.Origin.Name, end)
		}
	}
	return nil
}

// ended learns of the epochs before: their lanes must not write to what is now the origin, and their mirror's last positions
// say where this epoch began on the follower, which was their origin.
func (j *judge) ended(ctx context.Context) error {
	for _, id := range j.config.EndedProducerIDs {
		j.writers[id] = true
	}
	for i, group := range j.config.EndedGroups {
		for _, topic := range []wire.Topic{j.config.Follower, j.config.Origin} {
			found, err := positionsOf(ctx, j.client(), group, topic)
			if err != nil {
				return err
			}
			for q, each := range found {
				for _, id := range each.mark.Producers {
					j.writers[id] = true
				}
				last := i == len(j.config.EndedGroups)-1 && topic.Name == j.config.Follower.Name
				if last && q < j.rules.followers {
					j.followerBegan[q] = each.offset
				}
			}
		}
	}
	return nil
}

// look reads the mirror's positions, who its lanes are, and where each partition's epoch began.
func (j *judge) look(ctx context.Context) error {
	found, err := positionsOf(ctx, j.client(), j.config.Group, j.config.Origin)
	if err != nil {
		return err
	}
	for p, each := range found {
		if !each.ours || each.mark.Run != j.config.RunID || each.mark.Epoch != j.config.Epoch || p >= j.rules.origins {
			delete(found, p)
			continue
		}
		for _, id := range each.mark.Producers {
			j.lanes[id], j.writers[id] = true, true
		}
	}
	for _, id := range j.config.ProducerIDs {
		j.lanes[id], j.writers[id] = true, true
	}
	j.marks = found
	for p := range j.rules.origins {
		j.place(p)
	}
	return nil
}

// place sets where a partition begins, once that is known.
func (j *judge) place(p int32) {
	if j.known[p] {
		return
	}
	mark, marked := j.marks[p]
	from, configured := j.config.From[p]
	if !marked && !configured {
		return
	}
	j.known[p] = true
	j.start[p], j.from[p] = mark.mark.Start, mark.mark.Start
	if configured {
		j.from[p] = from
		if !marked {
			j.start[p] = from
		}
	}
	j.until[p] = j.from[p]
}

// advance begins a window: it starts where the last one ended and ends at the mirror's positions of now.
func (j *judge) advance(ctx context.Context) error {
	if j.window > 0 {
		j.first = false
		copy(j.from, j.until)
	}
	later := j.laterThan()
	for deadline := time.Now().Add(behindFor); ; {
		if err := j.look(ctx); err != nil {
			return err
		}
		j.setUntil()
		behind := j.behind(later)
		if behind < 0 {
			break
		}
		if time.Now().After(deadline) {
			return wire.Faultf("violation", "the follower shows records of partition %d up to offset %d, and the mirror's position there stays at %d",
				behind, later[behind], j.until[behind])
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
	if j.window > 0 {
		for _, side := range j.sides {
			side.turn()
		}
	}
	return nil
}

func (j *judge) setUntil() {
	for p := range j.rules.origins {
		if until, configured := j.config.Until[p]; configured {
			j.until[p] = max(until, j.from[p])
		} else if mark, marked := j.marks[p]; marked {
			j.until[p] = max(mark.offset, j.from[p])
		}
	}
}

// laterThan gives the greatest origin offset that the follower showed past the last window, per origin partition.
func (j *judge) laterThan() map[int32]int64 {
	later := map[int32]int64{}
	for _, side := range j.sides {
		for p, each := range side.links {
			if each != nil && each.next.records > 0 {
				later[int32(p)] = max(later[int32(p)], each.next.last)
			}
		}
	}
	return later
}

// behind gives a partition whose position is not yet past what the follower shows; -1: none. A sum cannot be split, so a window
// ends past everything that was taken into it.
func (j *judge) behind(later map[int32]int64) int32 {
	for _, p := range slices.Sorted(maps.Keys(later)) {
		if _, fixed := j.config.Until[p]; !fixed && j.until[p] <= later[p] {
			return p
		}
	}
	return -1
}
