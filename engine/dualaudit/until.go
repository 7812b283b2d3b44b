package dualaudit

import (
	"context"

	"cutover/engine/audit"
	"cutover/engine/dualaudit/match"
	"cutover/engine/wire"
)

// cutAsked is the command judge_until.
type cutAsked struct {
	Source    wire.Offsets `json:"source"`
	Target    wire.Offsets `json:"target"`
	TimeoutMs int64        `json:"timeout_ms"` // for what stands below to be readable
}

// answer reads both sides to a cut and says whether everything below it has its counterpart below it.
func (s *session) answer(ctx context.Context, command wire.Command) {
	asked := cutAsked{TimeoutMs: untilMs}
	err := command.Decode(&asked)
	if err == nil {
		err = s.checkCut(&asked)
	}
	if err != nil {
		s.to.Reply(command, nil, err)
		return
	}
	verdict, err := s.judgeUntil(ctx, &asked)
	if err != nil {
		s.to.Reply(command, nil, named(err))
		return
	}
	s.to.Reply(command, map[string]any{
		"window": verdict.Window, "result": verdict.Result, "standing": verdict.Standing, "doubtful": verdict.Coverage.Doubtful,
	}, nil)
}

func (s *session) checkCut(asked *cutAsked) error {
	for side, cut := range []wire.Offsets{asked.Source, asked.Target} {
		topic := s.topics[side]
		for p := range topic.sinks {
			if at, named := cut[int32(p)]; !named || at < topic.from[int32(p)] {
				return wire.Faultf("bad_command", "the cut names no offset of partition %d of %s at or past where the audit began", p, topic.Topic.Name)
			}
		}
		if len(cut) > len(topic.sinks) {
			return wire.Faultf("bad_command", "the cut names more partitions than %s has", topic.Topic.Name)
		}
	}
	return nil
}

func (s *session) judgeUntil(ctx context.Context, asked *cutAsked) (Verdict, error) {
	cut := [2]wire.Offsets{asked.Source, asked.Target}
	reading, done := context.WithTimeout(ctx, milliseconds(asked.TimeoutMs))
	err := s.advance(reading, cut[match.Source], cut[match.Target])
	late := reading.Err() != nil && ctx.Err() == nil
	done()
	if late {
		verdict := s.verdict(ctx)
		if verdict.Result == audit.Proved {
			verdict.Result = audit.Unproved
		}
		return verdict, nil
	}
	if err != nil {
		return Verdict{}, err
	}
	inside := below(cut)
	rule := func(side match.Side, entry *match.Entry) match.Ruling {
		if inside(side, match.Spot{Partition: entry.Partition, Offset: entry.Offset}) {
			return match.Blame
		}
		return match.Wait
	}
	if err := s.matcher.Settle(rule); err != nil {
		return Verdict{}, err
	}
	verdict := s.verdict(ctx)
	s.at.Store(s.window)
	s.checkAstride(&verdict, cut)
	s.to.Emit(verdict)
	if verdict.Result == audit.Proved {
		s.to.Emit(s.cut(&verdict, cut[match.Source], cut[match.Target], true))
	}
	return verdict, nil
}

// checkAstride looks whether vectors below what was read already divide a pair.
func (s *session) checkAstride(v *Verdict, cut [2]wire.Offsets) {
	past := int64(0)
	for side, topic := range s.topics {
		for p, each := range topic.sinks {
			past += max(0, each.at-cut[side][int32(p)])
		}
	}
	if past == 0 || v.Result != audit.Proved {
		return
	}
	if count := s.matcher.Astride(below(cut)); count > 0 || past > match.RecentPairs {
		v.Coverage.Gaps = append(v.Coverage.Gaps, straddled(max(count, past-match.RecentPairs), s.topics[match.Source]))
		v.Result = audit.Unproved
	}
}
