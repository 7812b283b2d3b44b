package translate

import (
	"context"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"cutover/engine/partition"
)

// A layout is follower partitions as lists of batches. Offsets may be missing (compacted), batches may hold no record of
// ours (markers, aborted, foreign).
type layout struct {
	batches map[int32][]Piece // From and Until are the batch's own offsets; between two batches there may be nothing
	ends    map[int32]int64
	origins map[int32]int64 // end of each origin partition
	lineage partition.Lineage
}

// Probe gives one to three batches from the one that holds or follows the offset, as a broker does.
func (l *layout) Probe(_ context.Context, asks map[int32]int64) (map[int32]Piece, error) {
	pieces := map[int32]Piece{}
	for q, at := range asks {
		batches := l.batches[q]
		i := 0
		for i < len(batches) && batches[i].Until <= at {
			i++
		}
		if i == len(batches) {
			pieces[q] = Piece{From: at, Until: max(at+1, l.ends[q])}
			continue
		}
		piece := Piece{From: min(at, batches[i].From), Until: batches[i].Until, Seen: batches[i].Seen}
		for more := int(at) % 3; more > 0 && i+1 < len(batches); more-- {
			i++
			piece.Until, piece.Seen = batches[i].Until, append(slices.Clone(piece.Seen), batches[i].Seen...)
		}
		pieces[q] = piece
	}
	return pieces, nil
}

type shape struct {
	n, m    int32
	records int
	lanes   int  // partitions of one lane are written in one batch, another lane's in another
	lagging bool // the last lane's records come after all others
	holes   bool // compaction takes records, batches and the end
	astray  bool // keys off their hash partition
}

// generate lays out what a mirror of n partitions would have written to m.
func generate(rng *rand.Rand, s shape) *layout {
	l := &layout{batches: map[int32][]Piece{}, ends: map[int32]int64{}, origins: map[int32]int64{}, lineage: partition.Lineage{OriginCount: s.n, FollowerCount: s.m}}
	type one struct {
		lane   int
		p      int32
		origin int64
		q      int32
	}
	perLane := make([][]one, s.lanes)
	for range s.records {
		p := rng.Int31n(s.n)
		children := l.lineage.Children(p)
		q := children[rng.Intn(len(children))]
		if s.astray && rng.Intn(50) == 0 {
			q = rng.Int31n(s.m)
		}
		lane := int(p) % s.lanes
		perLane[lane] = append(perLane[lane], one{lane, p, l.origins[p], q})
		l.origins[p] += 1 + int64(rng.Intn(3)/2) // the origin has holes of its own
	}
	waiting := slices.Clone(perLane)
	for {
		var ready []int
		for lane := range waiting {
			if len(waiting[lane]) > 0 && (!s.lagging || lane < s.lanes-1) {
				ready = append(ready, lane)
			}
		}
		if len(ready) == 0 && s.lagging && len(waiting[s.lanes-1]) > 0 {
			ready = []int{s.lanes - 1}
		}
		if len(ready) == 0 {
			break
		}
		lane := ready[rng.Intn(len(ready))]
		count := min(len(waiting[lane]), 1+rng.Intn(40))
		byPartition := map[int32][]Seen{}
		for _, r := range waiting[lane][:count] {
			byPartition[r.q] = append(byPartition[r.q], Seen{Parent: r.p, Origin: r.origin})
		}
		waiting[lane] = waiting[lane][count:]
		for _, q := range slices.Sorted(maps.Keys(byPartition)) { // in order, or a seed would not tell a layout
			l.write(rng, q, byPartition[q], s.holes)
		}
	}
	return l
}

func (l *layout) write(rng *rand.Rand, q int32, records []Seen, holes bool) {
	batch := Piece{From: l.ends[q]}
	for i, r := range records {
		r.At = l.ends[q] + int64(i)
		if holes && rng.Intn(4) == 0 {
			continue
		}
		batch.Seen = append(batch.Seen, r)
	}
	batch.Until = batch.From + int64(len(records))
	if !holes || rng.Intn(5) > 0 { // else the batch vanished altogether
		l.batches[q] = append(l.batches[q], batch)
	}
	l.ends[q] = batch.Until
	for range 1 + rng.Intn(2) { // markers
		if !holes || rng.Intn(3) > 0 {
			l.batches[q] = append(l.batches[q], Piece{From: l.ends[q], Until: l.ends[q] + 1})
		}
		l.ends[q]++
	}
}

func (l *layout) all(q int32) []Seen {
	var records []Seen
	for _, batch := range l.batches[q] {
		records = append(records, batch.Seen...)
	}
	return records
}

func (l *layout) targets(from map[int32]int64) map[int32]Target {
	targets := map[int32]Target{}
	for q := range l.lineage.FollowerCount {
		targets[q] = Target{Within: Range{from[q], l.ends[q]}, Parents: l.lineage.Parents(q)}
	}
	return targets
}

func (l *layout) spans(rng *rand.Rand) map[int32]Span {
	spans := map[int32]Span{}
	for _, p := range slices.Sorted(maps.Keys(l.origins)) {
		if rng.Intn(4) > 0 { // some are not known
			spans[p] = Span{0, l.origins[p]}
		}
	}
	return spans
}

func (l *layout) vector(rng *rand.Rand) map[int32]int64 {
	bounds := map[int32]int64{}
	for p := range l.lineage.OriginCount {
		bounds[p] = rng.Int63n(l.origins[p] + 2)
		if rng.Intn(10) == 0 {
			bounds[p] = 0
		}
		if rng.Intn(10) == 0 {
			bounds[p] = l.origins[p] + 1
		}
	}
	return bounds
}

var shapes = map[string]shape{
	"nested 6 to 24":           {n: 6, m: 24, records: 3000, lanes: 1},
	"nested, lanes":            {n: 6, m: 24, records: 3000, lanes: 3},
	"nested, compacted":        {n: 6, m: 24, records: 3000, lanes: 2, holes: true},
	"crossed 6 to 9":           {n: 6, m: 9, records: 3000, lanes: 1},
	"crossed, lanes":           {n: 6, m: 9, records: 3000, lanes: 4},
	"crossed, one lane behind": {n: 6, m: 9, records: 3000, lanes: 6, lagging: true},
	"crossed, compacted":       {n: 6, m: 9, records: 2000, lanes: 3, holes: true},
	"merge 24 to 6":            {n: 24, m: 6, records: 3000, lanes: 4, lagging: true},
	"merge, compacted":         {n: 24, m: 6, records: 3000, lanes: 2, holes: true},
	"coprime 5 to 7":           {n: 5, m: 7, records: 2000, lanes: 2, holes: true},
	"mostly empty":             {n: 6, m: 24, records: 10, lanes: 2},
	"empty":                    {n: 6, m: 24, records: 0, lanes: 2},
}

// every runs the check over many layouts and vectors of each shape: thousands in all.
func every(t *testing.T, check func(rng *rand.Rand, l *layout) error) {
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(30) {
				rng := rand.New(rand.NewSource(seed))
				s := s
				s.records = s.records * (1 + rng.Intn(10)) / 10
				l := generate(rng, s)
				for vector := range 12 {
					if err := check(rng, l); err != nil {
						t.Fatalf("seed %d, vector %d: %v", seed, vector, err)
					}
				}
			}
		})
	}
}

func fullScan(l *layout, q int32, from int64, bounds map[int32]int64) int64 {
	for _, seen := range l.all(q) {
		if seen.At >= from && seen.Origin >= bounds[seen.Parent] {
			return seen.At
		}
	}
	return max(from, l.ends[q])
}

func TestSearchAgreesWithAFullScan(t *testing.T) {
	every(t, func(rng *rand.Rand, l *layout) error {
		bounds, from := l.vector(rng), map[int32]int64{}
		if rng.Intn(3) == 0 { // the log start has moved
			for q := range l.lineage.FollowerCount {
				from[q] = rng.Int63n(l.ends[q] + 1)
			}
		}
		found, _, err := Search(t.Context(), l, l.targets(from), Goal{Bounds: bounds, Spans: l.spans(rng)})
		if err != nil {
			return err
		}
		for q := range l.lineage.FollowerCount {
			if want := fullScan(l, q, from[q], bounds); found[q].Answer != want {
				return fmt.Errorf("partition %d: %d, a full scan says %d", q, found[q].Answer, want)
			}
		}
		return nil
	})
}

func TestDuplicatesAgreeWithAFullScan(t *testing.T) {
	every(t, func(rng *rand.Rand, l *layout) error {
		bounds := l.vector(rng)
		found, _, err := Search(t.Context(), l, l.targets(nil), Goal{Bounds: bounds, Spans: l.spans(rng), All: true})
		if err != nil {
			return err
		}
		counted, _, err := ReadAgain(t.Context(), l, found, bounds)
		if err != nil {
			return err
		}
		for q := range l.lineage.FollowerCount {
			want := int64(0)
			for _, seen := range l.all(q) {
				if seen.At >= found[q].Answer && seen.Origin < bounds[seen.Parent] {
					want++
				}
			}
			if counted[q] != want {
				return fmt.Errorf("partition %d: %d are read again, a full scan says %d", q, counted[q], want)
			}
			if l.lineage.Nested() && want != 0 {
				return fmt.Errorf("partition %d is nested and %d are read again", q, want)
			}
		}
		return nil
	})
}

func TestFollowerToOriginAgreesWithAFullScan(t *testing.T) {
	every(t, func(rng *rand.Rand, l *layout) error {
		positions := map[int32]int64{}
		for q := range l.lineage.FollowerCount {
			positions[q] = rng.Int63n(l.ends[q] + 1)
		}
		first, _, err := FirstUnread(t.Context(), l, l.targets(positions))
		if err != nil {
			return err
		}
		answer, want := Least(first, l.origins), map[int32]int64{}
		for p := range l.lineage.OriginCount {
			want[p] = l.origins[p]
			for q := range l.lineage.FollowerCount {
				for _, seen := range l.all(q) {
					if seen.At >= positions[q] && seen.Parent == p {
						want[p] = min(want[p], seen.Origin)
						break
					}
				}
			}
			if answer[p] != want[p] {
				return fmt.Errorf("origin partition %d: %d, a full scan says %d", p, answer[p], want[p])
			}
		}
		counted, _, err := ReadAgainOnOrigin(t.Context(), l, l, l.targets(nil), positions, answer, l.spans(rng))
		if err != nil {
			return err
		}
		for p := range l.lineage.OriginCount {
			duplicates := int64(0)
			for q := range l.lineage.FollowerCount {
				for _, seen := range l.all(q) {
					if seen.Parent == p && seen.At < positions[q] && seen.Origin >= answer[p] {
						duplicates++
					}
				}
			}
			if counted[p] != duplicates {
				return fmt.Errorf("origin partition %d: %d are read again, a full scan says %d", p, counted[p], duplicates)
			}
		}
		return nil
	})
}

func TestKeysAstrayAreFoundWhereTheyAreSeen(t *testing.T) {
	rng := rand.New(rand.NewSource(1))
	l := generate(rng, shape{n: 6, m: 24, records: 5000, lanes: 1, astray: true})
	everybody := l.targets(nil)
	for q, target := range everybody {
		target.Parents = []int32{0, 1, 2, 3, 4, 5}
		everybody[q] = target
	}
	for range 50 {
		bounds := l.vector(rng)
		found, _, err := Search(t.Context(), l, everybody, Goal{Bounds: bounds})
		if err != nil {
			t.Fatal(err)
		}
		for q := range l.lineage.FollowerCount {
			if want := fullScan(l, q, 0, bounds); found[q].Answer != want {
				t.Fatalf("partition %d: %d, a full scan says %d", q, found[q].Answer, want)
			}
		}
	}
	found, _, err := Search(t.Context(), l, l.targets(nil), Goal{Bounds: l.vector(rng)})
	if err != nil {
		t.Fatal(err)
	}
	strange := 0
	for _, each := range found {
		strange += len(each.Strange)
	}
	if strange == 0 {
		t.Fatal("no unexpected origin partition was reported in 24 follower partitions with 2 % of keys astray")
	}
}

func TestDisorderIsAnErrorNotAnAnswer(t *testing.T) {
	l := &layout{batches: map[int32][]Piece{0: {{From: 0, Until: 3, Seen: []Seen{{0, 0, 0}, {1, 0, 2}, {2, 0, 1}}}}}, ends: map[int32]int64{0: 3}}
	targets := map[int32]Target{0: {Within: Range{0, 3}, Parents: []int32{0}}}
	if _, _, err := Search(t.Context(), l, targets, Goal{Bounds: map[int32]int64{0: 2}}); err == nil {
		t.Fatal("origin offsets 0, 2, 1 were taken for ordered")
	}
}

func TestRoundsAreFew(t *testing.T) {
	rng := rand.New(rand.NewSource(3))
	l := generate(rng, shape{n: 6, m: 24, records: 200_000, lanes: 2})
	spans := map[int32]Span{}
	for p, end := range l.origins {
		spans[p] = Span{0, end}
	}
	for range 20 {
		_, rounds, err := Search(t.Context(), l, l.targets(nil), Goal{Bounds: l.vector(rng), Spans: spans})
		if err != nil {
			t.Fatal(err)
		}
		if rounds > 40 { // batches are of a few records here: halving 8,000 offsets takes 13 at best
			t.Fatalf("%d rounds", rounds)
		}
	}
}
