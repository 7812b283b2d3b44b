package audit

import (
	"fmt"

	"cutover/engine/audit/scan"
	"cutover/engine/provenance"
	"cutover/engine/wire"
)

// terms are what both sides are judged by. The offset slices are by origin partition and change only between windows.
type terms struct {
	config   wire.Audit
	rules    rules
	digest   digester
	lanes    map[int64]bool // producer ids of this epoch's lanes
	writers  map[int64]bool // the same and those of ended epochs: whoever must not write to the origin
	start    []int64        // where the epoch began
	from     []int64        // where this window begins
	readable []int64        // from, or where the origin's log begins now if that is later
	until    []int64        // where this window ends
	first    bool           // this is the first window
}

func (t *terms) shower() *shower { return &shower{digest: &t.digest, data: t.config.ShowData} }

// originSide accumulates one origin partition over one window.
type originSide struct {
	*terms
	partition int32
	pairs     []*sum  // by follower partition
	floors    []int64 // by follower partition: below these the follower's log may have lost records; nil: none has
	unproved  int64
	offHash   int64
	found     *findings
}

func newOriginSide(t *terms, partition int32) *originSide {
	return &originSide{terms: t, partition: partition, pairs: make([]*sum, t.rules.followers), found: newFindings(t.config.Samples)}
}

// Take counts one record of the origin.
func (s *originSide) Take(record *scan.Record) error {
	q := s.rules.follower(record, s.partition, record.Offset)
	s.judge(record)
	if s.floors != nil && record.Offset < s.floors[q] {
		s.unproved++
		return nil
	}
	what, err := withoutProvenance(record)
	if err != nil {
		return err
	}
	plain, timed := s.digest.record(s.partition, record.Offset, what, record.TimestampMs)
	if s.pairs[q] == nil {
		s.pairs[q] = &sum{last: -1}
	}
	s.pairs[q].add(record.Offset, plain, timed, record.LogAppendTime)
	return nil
}

// judge applies what can be said of an origin record alone.
func (s *originSide) judge(record *scan.Record) {
	if s.writers[record.ProducerID] && record.Offset >= s.start[s.partition] {
		s.found.count(Loop, func() Sample {
			return Sample{Origin: s.shower().place(s.config.Origin, s.partition, record), Why: fmt.Sprintf("producer id %d is a lane's", record.ProducerID)}
		})
	}
	home := s.rules.home(record)
	if home < 0 || home == s.partition {
		return
	}
	if s.config.OffHash == "accepted" {
		s.offHash++
		return
	}
	s.found.count(OffHash, func() Sample {
		return Sample{
			Origin: s.shower().place(s.config.Origin, s.partition, record), Expected: new(home),
			Why: fmt.Sprintf("%s puts this key into partition %d of %d", s.rules.native.name, home, s.rules.origins),
		}
	})
}

// link is what one follower partition holds of one origin partition.
type link struct {
	last    int64 // greatest origin offset ever seen
	first   int64 // of those that are still in the log
	current sum   // of this window
	next    sum   // past its end
}

// followerSide accumulates one follower partition; it lives through all windows.
type followerSide struct {
	*terms
	partition    int32
	links        []*link // by origin partition
	unproved     []int64 // by origin partition: mirrored records whose origin is gone
	firstLater   int64   // first offset that belongs past this window; -1: none
	interleaved  bool    // something of this window stands behind it
	foundAtOnce  *findings
	recordsLater int64
	newcomers    map[int64]*newcomer
	late         late
}

func newFollowerSide(t *terms, partition int32) *followerSide {
	return &followerSide{
		terms: t, partition: partition, links: make([]*link, t.rules.origins), unproved: make([]int64, t.rules.origins),
		firstLater: -1, foundAtOnce: newFindings(t.config.Samples),
	}
}

// turn begins the next window: what was read past the last one is its beginning.
func (s *followerSide) turn() {
	for _, each := range s.links {
		if each != nil {
			each.current, each.next = each.next, sum{last: -1}
		}
	}
	clear(s.unproved)
	s.firstLater, s.interleaved, s.recordsLater, s.newcomers, s.late = -1, false, 0, nil, late{}
	s.foundAtOnce = newFindings(s.config.Samples)
}

// Take counts one record of the follower.
func (s *followerSide) Take(record *scan.Record) error {
	origin, what, is, err := mirrored(record)
	if err != nil {
		return err
	}
	if s.isNewcomer(record, origin, is) {
		return s.postpone(record, origin, what)
	}
	if why := s.foreign(record, origin, is); why != "" {
		if s.reports(record.ProducerID) {
			s.late.add(s.straggler(record, is))
			return nil
		}
		s.foundAtOnce.count(Foreign, func() Sample { return s.sample(record, origin, is, why) })
		return nil
	}
	p, o := origin.Partition, origin.Offset
	if o < s.from[p] {
		s.early(record, origin)
		return nil
	}
	if expected := s.rules.follower(record, p, o); expected != s.partition {
		s.foundAtOnce.count(Misplaced, func() Sample {
			made := s.sample(record, origin, true, fmt.Sprintf("%s puts this record into partition %d of %d", s.rules.copied.name, expected, s.rules.followers))
			made.Expected = new(expected)
			return made
		})
	}
	plain, timed := s.digest.record(p, o, what, record.TimestampMs)
	s.accumulate(deferred{record.Offset, record.TimestampMs, p, o, plain, timed, record.LogAppendTime})
	return nil
}

func (s *followerSide) accumulate(one deferred) {
	to := s.links[one.p]
	if to == nil {
		to = &link{last: -1, first: one.o, current: sum{last: -1}, next: sum{last: -1}}
		s.links[one.p] = to
	}
	part := &to.current
	if one.o >= s.until[one.p] {
		part = &to.next
		s.recordsLater++
		if s.firstLater < 0 {
			s.firstLater = one.at
		}
	} else if s.firstLater >= 0 {
		s.interleaved = true
	}
	if one.o <= to.last {
		part.breaks++
	}
	to.last, to.first = max(to.last, one.o), min(to.first, one.o)
	if one.o < s.readable[one.p] {
		s.unproved[one.p]++
		return
	}
	part.add(one.o, one.plain, one.timed, one.logAppend)
}

// foreign says why no lane of this epoch can have written the record; empty when one did.
func (s *followerSide) foreign(record *scan.Record, origin provenance.Origin, is bool) string {
	switch {
	case !s.lanes[record.ProducerID]:
		return s.unknown(record, is)
	case !is:
		return "a lane wrote it without provenance"
	}
	return s.misnamed(origin)
}

func (s *followerSide) unknown(record *scan.Record, is bool) string {
	if is {
		return fmt.Sprintf("it carries provenance, and producer id %d is none of a lane", record.ProducerID)
	}
	return fmt.Sprintf("producer id %d is none of a lane", record.ProducerID)
}

// misnamed says why provenance cannot be of this run and epoch.
func (s *followerSide) misnamed(origin provenance.Origin) string {
	switch {
	case origin.Run != [8]byte(s.config.RunID) || origin.Epoch != s.config.Epoch:
		return fmt.Sprintf("its provenance is of run %x, epoch %d", wire.RunID(origin.Run), origin.Epoch)
	case origin.Partition < 0 || origin.Partition >= s.rules.origins:
		return fmt.Sprintf("its provenance names partition %d of %d", origin.Partition, s.rules.origins)
	}
	return ""
}

// early judges a record from below the window: copied before the epoch began, or again after it was judged.
func (s *followerSide) early(record *scan.Record, origin provenance.Origin) {
	switch {
	case origin.Offset < s.start[origin.Partition]:
		s.foundAtOnce.count(Phantom, func() Sample {
			return s.sample(record, origin, true, fmt.Sprintf("the epoch began at offset %d there", s.start[origin.Partition]))
		})
	case !s.first:
		s.foundAtOnce.count(Duplicate, func() Sample {
			return s.sample(record, origin, true, "its origin record was judged with its counterpart in an earlier window")
		})
	}
}

func (s *followerSide) sample(record *scan.Record, origin provenance.Origin, is bool, why string) Sample {
	made := Sample{Follower: s.shower().place(s.config.Follower, s.partition, record), Why: why}
	if is {
		made.Origin = &Place{Topic: s.config.Origin.Name, Partition: origin.Partition, Offset: origin.Offset, TimestampMs: -1}
	}
	return made
}
