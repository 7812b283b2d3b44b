package translate

import (
	"context"
	"maps"
	"slices"

	"cutover/engine/wire"
)

// leg is one epoch on the way of a vector: a vector is cut to each epoch it may lie in, translated there, and put together again.
type leg struct {
	epoch    *Epoch
	view     *view
	forward  bool // from its origin to its follower
	passed   bool // the vector leaves nothing unread in it
	mirrored Log
	wide     Log

	given  wire.Offsets
	answer wire.Offsets
	found  map[int32]Found // forward
}

// span gives where the epoch begins and ends on the side that is given and on the other one; nil: it is not bounded there.
func (l *leg) span() (givenFrom, givenUntil, from, until wire.Offsets) {
	e := l.epoch
	if l.forward {
		return e.Start, e.End, e.FollowerStart, e.FollowerEnd
	}
	return e.FollowerStart, e.FollowerEnd, e.Start, e.End
}

// within cuts a vector to a span. The first epoch's beginning does not count: what lies before it is refused elsewhere.
func within(vector, from, until wire.Offsets) wire.Offsets {
	clipped := wire.Offsets{}
	for p, offset := range vector {
		if end, bounded := until[p]; bounded {
			offset = min(offset, end)
		}
		clipped[p] = max(offset, from[p])
	}
	return clipped
}

// isPassed says whether a vector lies at or past the end of an ended epoch on every partition.
func (l *leg) isPassed(vector wire.Offsets) bool {
	_, until, _, _ := l.span()
	for p, offset := range vector {
		if end, ended := until[p]; !ended || offset < end {
			return false
		}
	}
	return true
}

// lose puts positions below the log start, where this epoch's records can no longer be told, at the first offset that still
// can. What the origin has lost and the follower was given is not lost to a group that goes to the follower.
func (l *leg) lose(begins wire.Offsets, answer *Answer) {
	if l.passed {
		return
	}
	for p, position := range l.given {
		bound := begins[p]
		if start, known := l.view.start[p]; known && l.forward {
			bound = min(bound, start)
		}
		if end, ended := l.epoch.FollowerEnd[p]; ended && !l.forward {
			bound = min(bound, end)
		}
		if position >= bound {
			continue
		}
		answer.Lost[p] += bound - position
		l.given[p] = bound
		if answer.Given[p] == position {
			answer.Given[p] = bound
		}
	}
}

// settle translates the part of the vector that lies in this epoch.
func (l *leg) settle(ctx context.Context, all bool) (rounds int, err error) {
	if l.passed {
		_, _, _, l.answer = l.span()
		return 0, nil
	}
	targets := l.view.targets(l.epoch)
	if l.forward {
		l.found, rounds, err = Search(ctx, l.mirrored, targets, Goal{Bounds: l.given, Spans: l.view.spans(), All: all})
		l.answer = wire.Offsets{}
		for q, each := range l.found {
			l.answer[q] = each.Answer
		}
		return rounds, err
	}
	for q, target := range targets {
		target.Within.From = max(target.Within.From, l.given[q])
		targets[q] = target
	}
	first, rounds, err := FirstUnread(ctx, l.mirrored, targets)
	l.answer = Least(first, l.view.mirror)
	return rounds, err
}

// again counts the records of this epoch at or past the answer that were read on the side that is given.
func (l *leg) again(ctx context.Context, answer wire.Offsets) (counted map[int32]int64, rounds int, err error) {
	if l.passed {
		return nil, 0, nil // so were the epochs before it: no answer lies in it
	}
	if !l.forward {
		return ReadAgainOnOrigin(ctx, l.mirrored, l.wide, l.view.targets(l.epoch), l.given, answer, l.view.spans())
	}
	found := maps.Clone(l.found)
	for q, each := range found {
		each.Answer = max(answer[q], l.view.begins[q])
		found[q] = each
	}
	return ReadAgain(ctx, l.wide, found, l.given)
}

// compose puts the answers of all epochs together: a partition is read from where its first epoch with something unread says.
func compose(legs []*leg) wire.Offsets {
	composed := wire.Offsets{}
	for p, last := range legs[len(legs)-1].answer {
		composed[p] = last
		for _, each := range slices.Backward(legs[:len(legs)-1]) {
			_, _, _, until := each.span()
			if answer := each.answer[p]; answer < until[p] {
				composed[p] = answer
			}
		}
	}
	return composed
}

// unproved tells which follower partitions may have lost unread records with their beginning.
func (l *leg) unproved() []int32 {
	var partitions []int32
	for q, each := range l.found {
		if l.view.begins[q] > l.epoch.FollowerStart[q] && slices.ContainsFunc(each.Unread, l.open) {
			partitions = append(partitions, q)
		}
	}
	return partitions
}

// open says whether the vector leaves something of an origin partition unread in this epoch, as far as its bounds tell.
func (l *leg) open(p int32) bool {
	end, ended := l.epoch.End[p]
	return !ended || l.given[p] < end
}

func (l *leg) part() Part {
	v := l.view
	return Part{Epoch: l.epoch.Epoch, Forward: l.forward, Given: l.given, Positions: l.answer, Mirror: v.mirror, Start: v.start, Begins: v.begins, Ends: v.ends,
		ProducerIDs: slices.Sorted(maps.Keys(v.producers))}
}
