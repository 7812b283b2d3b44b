package audit

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"cutover/engine/wire"
)

const rowsTold = 5000 // pairs in one event; those that differ come first

// compare makes a verdict of what both sides summed up to. What differs is in it, where it differs is not yet.
func (j *judge) compare(sides originSides) Verdict {
	verdict := Verdict{
		Event: "verdict", Window: j.window, Violations: map[string]int64{}, ViolationsExact: true, Accepted: map[string]int64{}, Samples: []Sample{},
		Bounds:       Bounds{From: j.offsets(j.from), Until: j.offsets(j.until), FollowerFrom: maps.Clone(j.reached)},
		DigestFields: []string{"partition", "offset", "key", "value", "headers", "timestamp"},
	}
	found := newFindings(j.config.Samples)
	j.brokerTimes = false
	for p := range j.rules.origins {
		for q := range j.rules.followers {
			one, other := originSum(sides, p, q), j.followerSum(p, q)
			if one.records+other.records+other.breaks == 0 {
				continue
			}
			verdict.count(pairOf(p, q, &one, &other))
			j.brokerTimes = j.brokerTimes || one.logAppend || other.logAppend
		}
	}
	for _, p := range slices.Sorted(maps.Keys(sides)) {
		found.merge(sides[p].found)
		if sides[p].offHash > 0 {
			verdict.Accepted[OffHash] += sides[p].offHash
		}
	}
	for _, side := range j.sides {
		found.merge(side.foundAtOnce)
		verdict.Coverage.Later += side.recordsLater
	}
	maps.Copy(verdict.Violations, found.counts)
	verdict.Samples = append(verdict.Samples, found.samples...)
	if j.brokerTimes {
		verdict.DigestFields = verdict.DigestFields[:len(verdict.DigestFields)-1]
		verdict.DigestNote = "timestamps are left out where a topic's message.timestamp.type is LogAppendTime: the broker set them"
	}
	j.gaps(&verdict, sides)
	return verdict
}

func originSum(sides originSides, p, q int32) sum {
	if side := sides[p]; side != nil && side.pairs[q] != nil {
		return *side.pairs[q]
	}
	return sum{last: -1}
}

func (j *judge) followerSum(p, q int32) sum {
	if to := j.sides[q].links[p]; to != nil {
		return to.current
	}
	return sum{last: -1}
}

func pairOf(p, q int32, one, other *sum) Pair {
	pair := Pair{
		Origin: p, Follower: q, OriginRecords: one.records, FollowerRecords: other.records,
		OriginLast: one.last, FollowerLast: other.last, Equal: one.equal(other),
	}
	switch {
	case pair.Equal:
	case other.breaks > 0:
		pair.Why = fmt.Sprintf("%d records at or below the one before them", other.breaks)
	case one.records != other.records:
		pair.Why = fmt.Sprintf("%d records against %d", one.records, other.records)
	default:
		pair.Why = "as many records, other digests"
	}
	return pair
}

// count takes a pair into the totals and keeps its row.
func (v *Verdict) count(pair Pair) {
	v.PairsTotal++
	v.Coverage.Expected += pair.OriginRecords
	if pair.Equal {
		v.PairsEqual++
		v.Coverage.Proved += pair.OriginRecords
	}
	v.Pairs = append(v.Pairs, pair)
}

// gaps names what could not be judged because one side's log has lost it, or because the mirror has no position there.
func (j *judge) gaps(v *Verdict, sides originSides) {
	v.Coverage.Gaps = []Gap{}
	for p := range j.rules.origins {
		if j.readable[p] > j.from[p] {
			records := int64(0)
			for _, side := range j.sides {
				records += side.unproved[p]
			}
			v.gap(Gap{Side: "origin", Topic: j.config.Origin.Name, Partition: p, From: j.from[p], Until: j.readable[p], Records: records,
				Why: "the origin removed these offsets (retention or deletion) before they were read"})
		}
	}
	if !j.first {
		return
	}
	for q := range j.rules.followers {
		if began, reached := j.followerBegan[q], j.reached[q]; reached > began {
			v.gap(Gap{Side: "follower", Topic: j.config.Follower.Name, Partition: q, From: began, Until: reached,
				Why: "the follower removed these offsets (retention or deletion) before they were read"})
		}
	}
	for _, side := range sides {
		v.Coverage.Unproved += side.unproved
		v.Coverage.Expected += side.unproved
	}
}

func (v *Verdict) gap(gap Gap) {
	v.Coverage.Gaps = append(v.Coverage.Gaps, gap)
	v.Coverage.Unproved += gap.Records
	v.Coverage.Expected += gap.Records
}

func (j *judge) offsets(from []int64) wire.Offsets {
	made := wire.Offsets{}
	for p, known := range j.known {
		if known {
			made[int32(p)] = from[p]
		}
	}
	return made
}

// conclude names the outcome and keeps the worst of all windows.
func (j *judge) conclude(v *Verdict, took time.Duration, read int64) {
	v.AtMs, v.Seconds, v.RecordsRead = time.Now().UnixMilli(), took.Seconds(), read
	v.RecordsPerSecond = float64(read) / max(v.Seconds, 1e-3)
	v.JudgedPerSecond = float64(v.Coverage.Expected) / max(v.Seconds, 1e-3)
	if differ := v.PairsTotal - v.PairsEqual; differ > 0 && len(v.Violations) == 0 {
		v.Violations[Unexplained] = int64(differ)
	}
	switch {
	case len(v.Violations) > 0:
		v.Result = Violated
	case len(v.Coverage.Gaps) > 0:
		v.Result = Unproved
	default:
		v.Result = Proved
	}
	if v.Result == Violated || j.standing == Proved {
		j.standing = v.Result
	}
	v.Standing = j.standing
	slices.SortStableFunc(v.Pairs, func(a, b Pair) int {
		switch {
		case a.Equal == b.Equal:
			return 0
		case b.Equal:
			return -1
		}
		return 1
	})
	v.Pairs = v.Pairs[:min(len(v.Pairs), rowsTold)]
	if v.Pairs == nil {
		v.Pairs = []Pair{}
	}
}

// cut tells what the window proved as a pair of vectors.
func (j *judge) cut(v *Verdict) VerifiedCut {
	made := VerifiedCut{Event: "verified_cut", AtMs: v.AtMs, Window: v.Window, Origin: v.Bounds.Until, Follower: wire.Offsets{}, Exact: true}
	for q, side := range j.sides {
		made.Follower[int32(q)] = j.reached[int32(q)]
		if side.firstLater >= 0 {
			made.Follower[int32(q)] = side.firstLater
		}
		made.Exact = made.Exact && !side.interleaved
	}
	return made
}
