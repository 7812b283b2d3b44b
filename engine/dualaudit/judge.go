package dualaudit

import (
	"context"
	"sync/atomic"
	"time"

	"cutover/engine/audit"
	"cutover/engine/dualaudit/match"
	"cutover/engine/wire"
)

const lookAgain = 50 * time.Millisecond // at a range's end, for counterparts that were on their way

// judge reads both sides and knows what stands in the way of a proof.
type judge struct {
	*terms
	topics   [2]*topic
	window   int64
	began    time.Time
	phase    atomic.Value
	standing atomic.Value
	shown    map[place]kept // records that were read again for samples
	total    atomic.Int64   // offsets to read in this go
	passed   atomic.Int64   // offsets read before it
}

func newJudge(config wire.DualAudit) (*judge, error) {
	terms, err := termsOf(config)
	if err != nil {
		return nil, err
	}
	made := &judge{terms: terms, shown: map[place]kept{}}
	made.phase.Store("reading")
	made.standing.Store(audit.Proved)
	if made.topics[match.Source], err = openTopic(terms, match.Source, config.Source, config.SourceFrom, config.SourceUntil); err != nil {
		return nil, err
	}
	if made.topics[match.Target], err = openTopic(terms, match.Target, config.Target, config.TargetFrom, config.TargetUntil); err != nil {
		made.topics[match.Source].close()
		return nil, err
	}
	return made, nil
}

func (j *judge) close() {
	j.matcher.Close()
	for _, each := range j.topics {
		each.close()
	}
}

func (j *judge) begin(ctx context.Context) error {
	j.began = time.Now()
	return both(
		func() error { return j.topics[match.Source].begin(ctx, j.config.SourceFrom) },
		func() error { return j.topics[match.Target].begin(ctx, j.config.TargetFrom) },
	)
}

func (j *judge) look(ctx context.Context) (found [2]ends, err error) {
	err = both(
		func() (err error) { found[match.Source], err = j.topics[match.Source].look(ctx); return },
		func() (err error) { found[match.Target], err = j.topics[match.Target].look(ctx); return },
	)
	return found, err
}

// advance reads both sides to the ends, in rounds.
func (j *judge) advance(ctx context.Context, source, target wire.Offsets) error {
	left := [2]int64{j.topics[match.Source].left(source), j.topics[match.Target].left(target)}
	j.total.Store(left[0] + left[1])
	j.passed.Store(j.offsetsRead())
	for rounds := max(left[0], left[1])/roundOffsets + 1; rounds > 0; rounds-- {
		first, second := j.topics[match.Source].ranges(source, rounds), j.topics[match.Target].ranges(target, rounds)
		err := both(
			func() error { return j.topics[match.Source].read(ctx, first) },
			func() error { return j.topics[match.Target].read(ctx, second) },
		)
		if err != nil {
			return err
		}
	}
	return nil
}

func (j *judge) offsetsRead() int64 {
	return j.topics[match.Source].Offsets.Load() + j.topics[match.Target].Offsets.Load()
}

func (j *judge) recordsRead() int64 {
	return j.topics[match.Source].Records.Load() + j.topics[match.Target].Records.Load()
}

// follow reads what is there now and notes up to which moment that is everything.
func (j *judge) follow(ctx context.Context) error {
	found, err := j.look(ctx)
	if err != nil {
		return err
	}
	if err := j.advance(ctx, found[match.Source].stable, found[match.Target].stable); err != nil {
		return err
	}
	for side, each := range found {
		j.topics[side].stand(each)
	}
	return nil
}

// patient blames what has no counterpart although the other side was read beyond a moment long enough after it.
func (j *judge) patient(side match.Side, entry *match.Entry) match.Ruling {
	if j.topics[side.Other()].stoodMs >= entry.SeenMs+j.config.PatienceMs {
		return match.Blame
	}
	return match.Wait
}

// below knows what stands below a cut.
func below(cut [2]wire.Offsets) func(match.Side, match.Spot) bool {
	return func(side match.Side, spot match.Spot) bool { return spot.Offset < cut[side][spot.Partition] }
}

// closed judges a range that ends. Where nobody was held at the end, it looks past it for counterparts that were on their way.
func (j *judge) closed(ctx context.Context) error {
	found, err := j.look(ctx)
	if err != nil {
		return err
	}
	until := [2]wire.Offsets{j.until(match.Source, found), j.until(match.Target, found)}
	if err := j.checkUntil(until, found); err != nil {
		return err
	}
	for side, topic := range j.topics {
		topic.until = until[side]
		for p, each := range topic.sinks {
			each.end = until[side][int32(p)]
		}
	}
	if err := j.advance(ctx, until[match.Source], until[match.Target]); err != nil {
		return err
	}
	j.phase.Store("settling")
	if j.held() {
		return j.matcher.Settle(func(match.Side, *match.Entry) match.Ruling { return match.Blame })
	}
	return j.lookPast(ctx)
}

// held reports whether the range's end is a cut.
func (j *judge) held() bool {
	return !j.config.Align && j.config.SourceUntil != nil && j.config.TargetUntil != nil
}

func (j *judge) until(side match.Side, found [2]ends) wire.Offsets {
	made := wire.Offsets{}
	for p, each := range j.topics[side].sinks {
		end, named := j.topics[side].until[int32(p)]
		if !named {
			end = found[side].stable[int32(p)]
		}
		made[int32(p)] = max(end, each.at)
	}
	return made
}

// checkUntil refuses an end that the log has not reached: it would be waited for in vain.
func (j *judge) checkUntil(until [2]wire.Offsets, found [2]ends) error {
	for side, topic := range j.topics {
		for p, asked := range topic.until {
			if end, there := found[side].high[p]; !there || asked > end {
				return wire.Faultf("bad_configuration", "until names offset %d of partition %d of %s, which ends at %d", until[side][p], p, topic.Topic.Name, end)
			}
		}
	}
	return nil
}

func (j *judge) lookPast(ctx context.Context) error {
	for deadline := time.Now().Add(2*milliseconds(j.config.PatienceMs) + time.Second); j.waiting() > 0 && time.Now().Before(deadline); {
		if err := j.follow(ctx); err != nil {
			return err
		}
		if err := j.matcher.Settle(j.inRange(j.patient)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAgain):
		}
	}
	return j.matcher.Settle(j.inRange(func(match.Side, *match.Entry) match.Ruling { return match.Doubt }))
}

// waiting counts what has no counterpart and belongs to the range.
func (j *judge) waiting() int64 { return j.matcher.Counts().Waiting }

// inRange leaves out what was read past the range.
func (j *judge) inRange(rule match.Rule) match.Rule {
	return func(side match.Side, entry *match.Entry) match.Ruling {
		if entry.Flags&match.Later != 0 {
			return match.Wait
		}
		return rule(side, entry)
	}
}
