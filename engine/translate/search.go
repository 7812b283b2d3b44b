// Package translate turns a group's position on one topic of a pair into the equivalent position on the other.
//
// Within one follower partition the origin offsets of one origin partition strictly increase, so the first unread
// counterpart is found by searching provenance: search.go and forward.go decide over a Log and touch no network,
// fetch.go is the Log of a real topic, translate.go says what a position may be asked for and when an answer is final.
package translate

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Seen is one mirrored record of a follower partition: where it is, and where it came from.
type Seen struct {
	At     int64
	Parent int32
	Origin int64
}

// Piece is a stretch [From, Until) of one follower partition: every mirrored record in it, in order.
type Piece struct {
	From, Until int64
	Seen        []Seen
}

// Log reads pieces of follower partitions, all asked for in one round. The piece of an offset begins at or before it and
// ends after it.
type Log interface {
	Probe(ctx context.Context, at map[int32]int64) (map[int32]Piece, error)
}

// Range is half-open, in offsets.
type Range struct{ From, Until int64 }

// Target is one follower partition to be searched, and the origin partitions whose records it is expected to hold.
type Target struct {
	Within  Range
	Parents []int32
}

// Span is what is known of an origin partition before the search: where its records begin and end. It only guides guesses.
type Span struct{ From, Until int64 }

// Disorder says that the origin offsets of one origin partition do not increase within a follower partition, so that no
// position can be told.
type Disorder struct {
	Partition int32
	At        Seen
}

// Error names the record.
func (d Disorder) Error() string {
	return fmt.Sprintf("follower partition %d: the record at offset %d (origin partition %d, offset %d) is not in the order of its origin",
		d.Partition, d.At.At, d.At.Parent, d.At.Origin)
}

// Found is the outcome for one follower partition: where the first unread record of any parent is (the end of the range
// when there is none). With a search for all parents, every read record lies below ReadUntil.
type Found struct {
	Answer    int64
	ReadUntil int64
	Strange   []int32 // origin partitions met that were not among the parents
	Unread    []int32 // origin partitions of which no read record was seen
}

// Goal says which records are unread: those at or past Bounds of their origin partition.
type Goal struct {
	Bounds map[int32]int64
	Spans  map[int32]Span
	All    bool // settle every parent, not only the least
}

// Search finds the first unread record of each target, all partitions in parallel; it returns the number of rounds too.
func Search(ctx context.Context, log Log, targets map[int32]Target, goal Goal) (map[int32]Found, int, error) {
	open := map[int32]*hunt{}
	for q, target := range targets {
		open[q] = newHunt(target, goal)
	}
	found, rounds := map[int32]Found{}, 0
	for {
		asks := map[int32]int64{}
		for q, each := range open {
			if at, wanted := each.next(); wanted {
				asks[q] = at
				continue
			}
			found[q] = each.found()
			delete(open, q)
		}
		if len(open) == 0 {
			return found, rounds, nil
		}
		pieces, err := log.Probe(ctx, asks)
		if err != nil {
			return nil, rounds, err
		}
		rounds++
		for q, at := range asks {
			piece := pieces[q]
			if piece.From > at || piece.Until <= at {
				return nil, rounds, fmt.Errorf("a probe of partition %d at offset %d gave the offsets %d to %d", q, at, piece.From, piece.Until)
			}
			if open[q].take(piece); open[q].disorder != nil {
				return nil, rounds, Disorder{Partition: q, At: *open[q].disorder}
			}
		}
	}
}

// hunt is the search of one follower partition.
type hunt struct {
	goal     Goal
	within   Range
	edges    map[int32]*edge
	focus    *edge // the parent that is probed for
	probed   bool  // the window comes from a probe for the focus
	window   Range // what the last pieces covered without a gap
	width    int64 // offsets of the last piece
	strange  []int32
	disorder *Seen
}

// edge is where the read records of one parent end and its unread ones begin: below lo all are read, unread is the first
// one known to be unread (or the end), and what is not known and matters lies at [lo, hi).
type edge struct {
	parent         int32
	bound          int64
	lo, hi, unread int64
	quiet          int64 // no record of the parent at [quiet, window.Until)
	below, above   anchor
	halved         bool // the last probe at least halved what is not known
	read           bool // a read record was seen
}

// anchor ties an offset of the follower to one of the origin.
type anchor struct{ at, origin int64 }

func newHunt(target Target, goal Goal) *hunt {
	h := &hunt{goal: goal, within: target.Within, edges: map[int32]*edge{}, window: Range{-1, -1}}
	for _, p := range target.Parents {
		h.edges[p] = h.newEdge(p)
	}
	return h
}

func (h *hunt) newEdge(p int32) *edge {
	from, until := h.within.From, max(h.within.From, h.within.Until)
	one := &edge{parent: p, bound: h.goal.Bounds[p], lo: from, hi: until, unread: until, quiet: h.window.Until, halved: true}
	one.below, one.above = anchor{from, h.goal.Spans[p].From}, anchor{until, h.goal.Spans[p].Until}
	return one
}

// limit is where looking for this parent's edge ends: nothing above the least unread record matters unless all are wanted.
func (h *hunt) limit(e *edge) int64 {
	limit := e.hi
	if !h.goal.All {
		for _, other := range h.edges {
			limit = min(limit, other.unread)
		}
	}
	return limit
}

func (h *hunt) found() Found {
	answer := Found{Answer: h.within.Until, ReadUntil: h.within.From, Strange: h.strange}
	for _, e := range h.edges {
		answer.Answer = min(answer.Answer, e.unread)
		answer.ReadUntil = max(answer.ReadUntil, e.lo)
		if !e.read {
			answer.Unread = append(answer.Unread, e.parent)
		}
	}
	answer.ReadUntil = min(answer.ReadUntil, h.within.Until)
	return answer
}

// next says where to probe, false when nothing is open any more. It stays with one parent until its edge is settled;
// the others learn from the same pieces.
func (h *hunt) next() (int64, bool) {
	if h.focus == nil || h.focus.lo >= h.limit(h.focus) {
		h.focus, h.probed = h.widest(), false
	}
	if h.focus == nil {
		return 0, false
	}
	limit := h.limit(h.focus)
	if h.probed && h.focus.unseen(h.window, limit) {
		return h.window.Until, true
	}
	h.probed = true
	return h.focus.guess(limit, h.width), true
}

func (h *hunt) widest() *edge {
	var widest *edge
	for _, p := range slices.Sorted(maps.Keys(h.edges)) {
		e := h.edges[p]
		open := h.limit(e) - e.lo
		if open > 0 && (widest == nil || open > h.limit(widest)-widest.lo) {
			widest = e
		}
	}
	return widest
}

// unseen reports that the window lies in the middle and shows nothing of this parent: only going on from there helps.
func (e *edge) unseen(window Range, limit int64) bool {
	return e.lo < window.From && window.Until < limit && e.quiet <= window.From
}

// guess interpolates, or halves where that did not help; it aims at the middle of a piece.
func (e *edge) guess(limit, width int64) int64 {
	guess := e.lo + (limit-e.lo)/2
	rises := e.above.origin > e.below.origin && e.above.at > e.below.at
	if e.halved && rises {
		share := float64(e.bound-e.below.origin) / float64(e.above.origin-e.below.origin)
		guess = e.below.at + int64(share*float64(e.above.at-e.below.at))
	}
	return min(max(guess-width/2, e.lo), limit-1)
}

// take learns from a piece.
func (h *hunt) take(piece Piece) {
	if piece.From < h.window.From || piece.From > h.window.Until {
		h.window = Range{piece.From, piece.From}
		for _, e := range h.edges {
			e.quiet = piece.From
		}
	}
	known := h.window.Until
	h.width, h.window.Until = piece.Until-piece.From, max(h.window.Until, piece.Until)
	before := int64(0)
	if h.focus != nil {
		before = h.focus.hi - h.focus.lo
	}
	for _, seen := range piece.Seen {
		if seen.At >= known && seen.At >= h.within.From && seen.At < h.within.Until {
			if !h.edge(seen.Parent, piece.From).see(seen) {
				h.disorder = &seen
			}
		}
	}
	for _, e := range h.edges {
		e.settle(h.window.Until, h.limit(e))
	}
	if h.focus != nil {
		h.focus.halved = h.focus.hi-h.focus.lo <= before/2
	}
}

// edge gives the parent's edge; a parent that nobody expected gets one when it is first met.
func (h *hunt) edge(p int32, from int64) *edge {
	e, expected := h.edges[p]
	if !expected {
		e = h.newEdge(p)
		e.quiet = from
		h.edges[p] = e
		h.strange = append(h.strange, p)
	}
	return e
}

// see takes one record in; false when it contradicts what is known.
func (e *edge) see(seen Seen) bool {
	ordered := true
	if seen.Origin < e.bound {
		ordered, e.read = seen.At < e.unread, true
		if seen.At >= e.lo {
			e.lo, e.below = seen.At+1, anchor{seen.At, seen.Origin}
		}
	} else {
		ordered = seen.At >= e.lo
		if seen.At < e.unread {
			e.unread, e.above = seen.At, anchor{seen.At, seen.Origin}
		}
		e.hi = min(e.hi, e.quiet)
	}
	e.quiet = seen.At + 1
	return ordered
}

// settle uses what the window did not show: no record of this parent at [quiet, until).
func (e *edge) settle(until, limit int64) {
	if e.quiet <= e.lo && e.lo < until {
		e.lo = until
	}
	if e.quiet <= limit && limit <= until {
		e.hi = min(e.hi, e.quiet)
	}
}
