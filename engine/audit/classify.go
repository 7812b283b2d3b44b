package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// entry is one origin record and everything on the follower that claims to be its copy.
type entry struct {
	origin *detail
	copies []*detail
}

// detail is what is kept of one record: digests of its parts, and what may be shown of it.
type detail struct {
	q        int32 // where it belongs (origin), where it is (follower)
	key      number
	value    number
	headers  number
	timeMs   int64
	disorder bool
	place    *Place
}

// same compares content, without coordinates.
func (d *detail) same(other *detail, untimed bool) bool {
	return len(d.differences(other, untimed)) == 0
}

func (d *detail) differences(other *detail, untimed bool) []string {
	fields := []string{}
	if d.key != other.key {
		fields = append(fields, "key")
	}
	if d.value != other.value {
		fields = append(fields, "value")
	}
	if d.headers != other.headers {
		fields = append(fields, "headers")
	}
	if !untimed && d.timeMs != other.timeMs {
		fields = append(fields, "timestamp")
	}
	return fields
}

func (s *search) detail(one *seen) *detail {
	topic, partition := s.config.Follower, one.q
	if one.onOrigin {
		topic, partition = s.config.Origin, one.at.partition
	}
	return &detail{
		q: one.q, key: s.part(one.record.Key), value: s.part(one.record.Value), headers: s.headers(one.what),
		timeMs: one.record.TimestampMs, disorder: one.disorder, place: s.shower().place(topic, partition, one.record),
	}
}

// part tells nothing from empty.
func (s *search) part(bytes []byte) number {
	if bytes == nil {
		return number{}
	}
	return s.digest.of(bytes, 0)
}

func (s *search) headers(what content) number {
	if what.count == 0 {
		return number{}
	}
	found := s.digest.of(what.headers, 1)
	found.add(number{low: uint64(what.count)})
	return found
}

// classify says of every entry what is wrong with it.
func (s *search) classify() *findings {
	found := newFindings(s.config.Samples)
	order := slices.SortedFunc(maps.Keys(s.entries), func(a, b coordinates) int {
		return cmp.Or(cmp.Compare(a.partition, b.partition), cmp.Compare(a.offset, b.offset))
	})
	swapped := s.swaps(order)
	for _, at := range order {
		each := s.entries[at]
		switch {
		case each.origin == nil:
			s.phantoms(found, at, each)
		case len(each.copies) == 0:
			s.missing(found, each)
		default:
			if with, is := swapped[at]; is {
				s.swapped(found, each, with)
			} else {
				s.copies(found, each)
			}
		}
	}
	return found
}

func (s *search) phantoms(found *findings, at coordinates, each *entry) {
	for _, copied := range each.copies {
		found.count(Phantom, func() Sample {
			return Sample{
				Follower: copied.place, Origin: &Place{Topic: s.config.Origin.Name, Partition: at.partition, Offset: at.offset, TimestampMs: -1},
				Why: "the origin has no committed record at the offset that it names",
			}
		})
	}
}

func (s *search) missing(found *findings, each *entry) {
	found.count(Missing, func() Sample {
		return Sample{Origin: each.origin.place, Expected: &each.origin.q, Why: fmt.Sprintf("no record of partition %d of %s names it", each.origin.q, s.config.Follower.Name)}
	})
}

// copies judges the counterparts of an origin record that is there: the one in its right place counts, all others are too many.
func (s *search) copies(found *findings, each *entry) {
	main := s.main(each)
	for _, copied := range each.copies {
		if copied != main {
			found.count(Duplicate, func() Sample {
				return Sample{Origin: each.origin.place, Follower: copied.place, Why: fmt.Sprintf("its origin record has its counterpart at partition %d, offset %d", main.place.Partition, main.place.Offset)}
			})
		}
	}
	if fields := each.origin.differences(main, s.untimed()); len(fields) > 0 {
		found.count(Changed, func() Sample {
			return Sample{Origin: each.origin.place, Follower: main.place, Fields: fields, Why: "the counterpart differs from the record it names"}
		})
		return
	}
	if main.disorder && main.q == each.origin.q {
		found.count(Reordered, func() Sample {
			return Sample{Origin: each.origin.place, Follower: main.place, Why: "a counterpart of a later origin record stands before it"}
		})
	}
}

// main gives the copy that stands where it belongs, the earliest of several; else the first.
func (s *search) main(each *entry) *detail {
	slices.SortFunc(each.copies, func(a, b *detail) int {
		return cmp.Or(cmp.Compare(a.q, b.q), cmp.Compare(a.place.Offset, b.place.Offset))
	})
	for _, copied := range each.copies {
		if copied.q == each.origin.q {
			return copied
		}
	}
	return each.copies[0]
}

// swaps finds pairs of entries whose single copies carry each other's content.
func (s *search) swaps(order []coordinates) map[coordinates]coordinates {
	type identity struct {
		key, value, headers number
		timeMs              int64
	}
	of := func(d *detail) identity {
		if s.untimed() {
			return identity{d.key, d.value, d.headers, 0}
		}
		return identity{d.key, d.value, d.headers, d.timeMs}
	}
	differing := map[identity][]coordinates{} // by the origin's content
	for _, at := range order {
		if each := s.entries[at]; each.origin != nil && len(each.copies) == 1 && !each.origin.same(each.copies[0], s.untimed()) {
			differing[of(each.origin)] = append(differing[of(each.origin)], at)
		}
	}
	found := map[coordinates]coordinates{}
	for _, group := range differing {
		for _, at := range group {
			mine := s.entries[at]
			for _, other := range differing[of(mine.copies[0])] {
				if of(s.entries[other].copies[0]) == of(mine.origin) {
					found[at] = other
					break
				}
			}
		}
	}
	return found
}

func (s *search) swapped(found *findings, each *entry, with coordinates) {
	found.count(Swapped, func() Sample {
		return Sample{
			Origin: each.origin.place, Follower: each.copies[0].place, Fields: each.origin.differences(each.copies[0], s.untimed()),
			Why: fmt.Sprintf("what names it holds the record of partition %d, offset %d, and the other way round", with.partition, with.offset),
		}
	})
}
