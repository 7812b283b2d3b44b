package audit

import (
	"context"
	"slices"
	"sync"

	"cutover/engine/audit/scan"
	"cutover/engine/wire"
)

const (
	bucketsEach   = 4096    // per origin partition
	examinedMost  = 200_000 // records kept in memory at the end, both sides
	examinedLeast = 16      // buckets, whatever they hold
)

// search finds the records behind pairs that differ, in two further readings of nothing but those pairs: the first narrows the
// origin offsets down to buckets, the second keeps the records of the buckets that differ.
type search struct {
	*judge
	origins   map[int32]bool
	followers map[int32]bool
	buckets   map[int32]*buckets
	mu        sync.Mutex
	entries   map[coordinates]*entry
}

type coordinates struct {
	partition int32
	offset    int64
}

// buckets are sums over equal stretches of one origin partition's offsets.
type buckets struct {
	from, width int64
	sums        []bucket
}

type bucket struct {
	origin, follower  number
	records, mirrored int64
	disorder          bool
	examined          bool
}

func (b *buckets) of(o int64) *bucket { return &b.sums[(o-b.from)/b.width] }

func (b *bucket) differs() bool {
	return b.disorder || b.records != b.mirrored || b.origin != b.follower
}

// locate adds kinds, counts and samples to a verdict whose sums differ.
func (j *judge) locate(ctx context.Context, sides originSides, ends wire.Offsets, v *Verdict) error {
	if v.PairsEqual == v.PairsTotal {
		return nil
	}
	j.phase.Store("locating")
	defer j.phase.Store("reading")
	s := &search{judge: j, origins: map[int32]bool{}, followers: map[int32]bool{}, buckets: map[int32]*buckets{}, entries: map[coordinates]*entry{}}
	for _, pair := range v.Pairs {
		if !pair.Equal {
			s.origins[pair.Origin], s.followers[pair.Follower] = true, true
		}
	}
	for p := range s.origins {
		s.buckets[p] = newBuckets(j.readable[p], j.until[p])
	}
	floors := func(p int32) []int64 {
		if side := sides[p]; side != nil {
			return side.floors
		}
		return nil
	}
	if err := s.narrow(ctx, ends, floors); err != nil {
		return err
	}
	all := s.choose()
	if err := s.collect(ctx, ends, floors); err != nil {
		return err
	}
	found := s.classify()
	if !all {
		s.estimate(found)
		v.ViolationsExact = false
	}
	for kind, count := range found.counts {
		v.Violations[kind] += count
	}
	v.Samples = append(v.Samples, found.samples...)
	return nil
}

func newBuckets(from, until int64) *buckets {
	width := max((until-from+bucketsEach-1)/bucketsEach, 1)
	return &buckets{from: from, width: width, sums: make([]bucket, max((until-from+width-1)/width, 1))}
}

// read reads the differing pairs' partitions of this window once more.
func (s *search) read(ctx context.Context, ends wire.Offsets, originSink, followerSink func(int32) scan.Sink) error {
	originRanges, followerRanges := map[int32]scan.Range{}, map[int32]scan.Range{}
	for p := range s.origins {
		originRanges[p] = scan.Range{From: s.readable[p], Until: s.until[p]}
	}
	for q := range s.followers {
		followerRanges[q] = scan.Range{From: s.reachedBefore[q], Until: ends[q]}
	}
	s.total.Add(length(originRanges) + length(followerRanges))
	return both(
		func() error { return s.origin.Read(ctx, originRanges, originSink) },
		func() error { return s.follower.Read(ctx, followerRanges, followerSink) })
}

// seen is a record of either side that belongs to the pairs in question.
type seen struct {
	record   *scan.Record
	at       coordinates // of its origin
	q        int32       // where it belongs (origin), where it is (follower)
	what     content
	onOrigin bool
	disorder bool // it stands behind a later one of its pair
}

type sinkFunc func(*scan.Record) error

// Take calls the function.
func (f sinkFunc) Take(record *scan.Record) error { return f(record) }

// originRecords makes the sink that hands on what belongs to a follower partition in question.
func (s *search) originRecords(p int32, floors []int64, take func(seen)) scan.Sink {
	return sinkFunc(func(record *scan.Record) error {
		q := s.rules.follower(record, p, record.Offset)
		if !s.followers[q] || (floors != nil && record.Offset < floors[q]) {
			return nil
		}
		what, err := withoutProvenance(record)
		if err == nil {
			take(seen{record: record, at: coordinates{p, record.Offset}, q: q, what: what, onOrigin: true})
		}
		return err
	})
}

// followerRecords makes the sink that hands on what lanes wrote of an origin partition in question, within the window.
func (s *search) followerRecords(q int32, take func(seen)) scan.Sink {
	last := make([]int64, s.rules.origins)
	for p := range last {
		last[p] = -1
	}
	return sinkFunc(func(record *scan.Record) error {
		origin, what, is, err := mirrored(record)
		if err != nil || s.sides[q].foreign(record, origin, is) != "" {
			return err
		}
		p, o := origin.Partition, origin.Offset
		if !s.origins[p] || o < s.readable[p] || o >= s.until[p] {
			return nil
		}
		take(seen{record: record, at: coordinates{p, o}, q: q, what: what, disorder: o <= last[p]})
		last[p] = max(last[p], o)
		return nil
	})
}

// narrow sums both sides up by bucket.
func (s *search) narrow(ctx context.Context, ends wire.Offsets, floors func(int32) []int64) error {
	return s.read(ctx, ends,
		func(p int32) scan.Sink {
			return s.originRecords(p, floors(p), func(one seen) {
				digest := s.bucketDigest(&one)
				s.mu.Lock()
				defer s.mu.Unlock()
				in := s.buckets[p].of(one.at.offset)
				in.records++
				in.origin.add(digest)
			})
		},
		func(q int32) scan.Sink {
			return s.followerRecords(q, func(one seen) {
				digest := s.bucketDigest(&one)
				s.mu.Lock()
				defer s.mu.Unlock()
				in := s.buckets[one.at.partition].of(one.at.offset)
				in.mirrored++
				in.disorder = in.disorder || one.disorder
				in.follower.add(digest)
			})
		})
}

// bucketDigest tells the follower partition too; broker's timestamps are left out where the window has any.
func (s *search) bucketDigest(one *seen) number {
	plain, timed := s.digest.record(one.at.partition, one.at.offset, one.what, one.record.TimestampMs)
	if s.untimed() {
		timed = plain
	}
	var block [20]byte
	for i := range 8 {
		block[i], block[8+i] = byte(timed.high>>(8*i)), byte(timed.low>>(8*i))
	}
	for i := range 4 {
		block[16+i] = byte(one.q >> (8 * i))
	}
	return s.digest.of(block[:], 3)
}

// untimed reports whether brokers set timestamps anywhere in this window.
func (s *search) untimed() bool { return s.brokerTimes }

// choose marks the buckets to look into and reports whether these are all that differ.
func (s *search) choose() bool {
	kept, chosen := int64(0), 0
	all := true
	for _, p := range sortedKeys(s.buckets) {
		sums := s.buckets[p].sums
		for i := range sums {
			if !sums[i].differs() {
				continue
			}
			size := sums[i].records + sums[i].mirrored
			if kept+size > examinedMost && chosen >= examinedLeast {
				all = false
				continue
			}
			kept, chosen = kept+size, chosen+1
			sums[i].examined = true
		}
	}
	return all
}

// estimate counts what lies in buckets that were not looked into, from their sizes alone: at least so many.
func (s *search) estimate(found *findings) {
	for _, each := range s.buckets {
		for i := range each.sums {
			one := &each.sums[i]
			if one.examined || !one.differs() {
				continue
			}
			switch surplus := one.mirrored - one.records; {
			case surplus < 0:
				found.counts[Missing] -= surplus
			case surplus > 0:
				found.counts[Duplicate] += surplus
			default:
				found.counts[Unexamined]++
			}
		}
	}
}

// collect keeps the records of the chosen buckets.
func (s *search) collect(ctx context.Context, ends wire.Offsets, floors func(int32) []int64) error {
	keep := func(one seen, put func(*entry, *detail)) {
		if !s.buckets[one.at.partition].of(one.at.offset).examined {
			return
		}
		made := s.detail(&one)
		s.mu.Lock()
		defer s.mu.Unlock()
		into := s.entries[one.at]
		if into == nil {
			into = &entry{}
			s.entries[one.at] = into
		}
		put(into, made)
	}
	return s.read(ctx, ends,
		func(p int32) scan.Sink {
			return s.originRecords(p, floors(p), func(one seen) { keep(one, func(e *entry, d *detail) { e.origin = d }) })
		},
		func(q int32) scan.Sink {
			return s.followerRecords(q, func(one seen) { keep(one, func(e *entry, d *detail) { e.copies = append(e.copies, d) }) })
		})
}

func sortedKeys[V any](from map[int32]V) []int32 {
	keys := make([]int32, 0, len(from))
	for key := range from {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
