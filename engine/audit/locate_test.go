package audit

import "testing"

func TestWhatWasNotExaminedIsNotCalledChanged(t *testing.T) {
	s := &search{buckets: map[int32]*buckets{0: {width: 10, sums: []bucket{
		{records: 10, mirrored: 10},                                  // equal
		{records: 10, mirrored: 10, origin: number{low: 1}},          // differs, nobody knows how
		{records: 10, mirrored: 7},                                   // three are missing at least
		{records: 10, mirrored: 12},                                  // two are too many at least
		{records: 10, mirrored: 9, examined: true},                   // told record by record
		{records: 10, mirrored: 10, disorder: true, examined: false}, // differs, nobody knows how
	}}}}
	found := newFindings(10)
	s.estimate(found)
	want := map[string]int64{Unexamined: 2, Missing: 3, Duplicate: 2}
	for kind, count := range want {
		if found.counts[kind] != count {
			t.Errorf("%d %s, want %d", found.counts[kind], kind, count)
		}
	}
	if len(found.counts) != len(want) {
		t.Errorf("found %v, want %v", found.counts, want)
	}
}
