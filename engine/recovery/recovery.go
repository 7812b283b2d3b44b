// Package recovery decides where a lane goes on after any end of its predecessor, from the follower's own log.
//
// A transaction carries records and position together, so after it either both are there or neither. What a
// coordinator or a late frame may have done to that is seen here: records without their position are skipped on
// the way (nothing twice), a position without its records stops the run (nothing lost). The cases are
// tests/golden/recovery.json; cutover/recovery.py is a second implementation that passes the same.
package recovery

import "slices"

// Given is what is known of one origin partition and one follower partition that its records may go to.
type Given struct {
	Start     *int64  `json:"start"`     // where the epoch begins on the origin partition; nil when the plan leaves it to the first read
	Committed *int64  `json:"committed"` // next offset to copy, as committed; nil when nothing is
	Expected  []int64 `json:"expected"`  // origin offsets of the last committed transaction that belong here
	Seen      []int64 `json:"seen"`      // origin offsets at the follower's tail, in the order of its log
	Compacted bool    `json:"compacted"` // the follower may have dropped what it had
}

// Verdicts of a decision.
const (
	Continue      = "continue"       // go on at Resume, leaving out what is at or below SkipThrough
	Hole          = "hole"           // a committed record is not there: stop
	Disorder      = "disorder"       // the tail is not strictly increasing: stop
	PositionsLost = "positions_lost" // the follower has records and no position is committed: stop unless it can be read again from the start
)

// Decision is what the lane does about one pair of partitions.
type Decision struct {
	Verdict     string  `json:"verdict"`
	Resume      *int64  `json:"resume"`       // next origin offset to read; nil: the plan's start
	SkipThrough *int64  `json:"skip_through"` // origin offsets up to this one are there already
	Missing     []int64 `json:"missing"`
	Unproved    int     `json:"unproved"` // expected records that compaction may have taken
}

// Decide is pure. Cases, in order: a tail out of order; no position committed; a committed record missing; go on.
func Decide(given Given) Decision {
	if at := unordered(given.Seen); at >= 0 {
		return Decision{Verdict: Disorder, Missing: []int64{given.Seen[at]}}
	}
	if given.Committed == nil {
		return uncommitted(given)
	}
	missing := absent(given.Expected, given.Seen)
	if len(missing) > 0 && !given.Compacted {
		return Decision{Verdict: Hole, Missing: missing}
	}
	decision := Decision{Verdict: Continue, Resume: given.Committed, Unproved: len(missing)}
	if last := lastOf(given.Seen); last != nil && *last >= *given.Committed {
		decision.SkipThrough = last
	}
	return decision
}

func uncommitted(given Given) Decision {
	last := lastOf(given.Seen)
	if last != nil && given.Start == nil {
		return Decision{Verdict: PositionsLost}
	}
	return Decision{Verdict: Continue, Resume: given.Start, SkipThrough: last}
}

// unordered gives the index of the first offset that is not above the one before it, or -1.
func unordered(offsets []int64) int {
	for i := 1; i < len(offsets); i++ {
		if offsets[i] <= offsets[i-1] {
			return i
		}
	}
	return -1
}

func absent(expected, seen []int64) []int64 {
	var missing []int64
	for _, offset := range expected {
		if _, there := slices.BinarySearch(seen, offset); !there {
			missing = append(missing, offset)
		}
	}
	return missing
}

func lastOf(offsets []int64) *int64 {
	if len(offsets) == 0 {
		return nil
	}
	return &offsets[len(offsets)-1]
}
