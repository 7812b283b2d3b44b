package match

import (
	"encoding/binary"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// written is one record of a test: its key, what it says, and its stamp.
type written struct {
	key, word, stamp int
}

// topics are both sides, key by key in order.
type topics [2]map[int][]written

func numbered(word int) Number {
	var raw [8]byte
	binary.LittleEndian.PutUint64(raw[:], uint64(word))
	return Number{High: uint64(word)*0x9E3779B97F4A7C15 + 1, Low: uint64(word)*0xBF58476D1CE4E5B9 + 7}
}

func (w written) keyed(offset int64, partition int32, seenMs int64) Keyed {
	digest := numbered(w.word*1_000_003 + w.key*7 + w.stamp*13_000_027)
	return Keyed{Key: numbered(w.key + 1<<40), Entry: Entry{
		Digest: digest, Stamp: uint64(w.stamp), Offset: offset, TimeMs: 1000, SeenMs: seenMs, Producer: -1, Partition: partition,
	}}
}

func made(random *rand.Rand, keys, each int, stamped bool) topics {
	both := topics{{}, {}}
	stamp := 0
	for key := range keys {
		for range random.IntN(each) + 1 {
			stamp++
			one := written{key: key, word: random.IntN(5)}
			if stamped {
				one.stamp = stamp
			}
			both[Source][key] = append(both[Source][key], one)
		}
		both[Target][key] = slices.Clone(both[Source][key])
	}
	return both
}

// play hands both sides to a matcher, interleaved at random, and blames whatever is left over.
func play(t *testing.T, random *rand.Rand, both topics, terms Terms) (*Matcher, *Findings) {
	t.Helper()
	terms.Findings = NewFindings(1000)
	matcher := New(terms)
	t.Cleanup(matcher.Close)
	var queues [2][]Keyed
	for side := range queues {
		left := maps.Clone(both[side])
		for key := range left {
			left[key] = slices.Clone(left[key])
		}
		for offset := int64(0); len(left) > 0; offset++ {
			keys := slices.Sorted(maps.Keys(left))
			key := keys[random.IntN(len(keys))]
			queues[side] = append(queues[side], left[key][0].keyed(offset, 0, offset))
			if left[key] = left[key][1:]; len(left[key]) == 0 {
				delete(left, key)
			}
		}
	}
	for len(queues[0])+len(queues[1]) > 0 {
		side := Side(random.IntN(2))
		count := min(random.IntN(20), len(queues[side]))
		if err := matcher.Take(side, queues[side][:count]); err != nil {
			t.Fatal(err)
		}
		queues[side] = queues[side][count:]
		if random.IntN(10) == 0 {
			if err := matcher.Settle(alwaysWait); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := matcher.Settle(func(Side, *Entry) Ruling { return Blame }); err != nil {
		t.Fatal(err)
	}
	if left := matcher.Counts().Pending; left != 0 {
		t.Fatalf("%d are pending after all was blamed", left)
	}
	return matcher, terms.Findings
}

// faults are planted on one key of one side; each gives what must be found.
var faults = map[string]func(random *rand.Rand, side []written) ([]written, string){
	"dropped": func(random *rand.Rand, side []written) ([]written, string) {
		at := random.IntN(len(side))
		return slices.Delete(side, at, at+1), OneSideOnly
	},
	"twice": func(random *rand.Rand, side []written) ([]written, string) {
		at := random.IntN(len(side))
		return slices.Insert(side, at+random.IntN(len(side)-at)+1, side[at]), Duplicate
	},
	"swapped": func(random *rand.Rand, side []written) ([]written, string) {
		if len(side) < 2 {
			return slices.Delete(side, 0, 1), OneSideOnly
		}
		at := random.IntN(len(side) - 1)
		side[at], side[at+1] = side[at+1], side[at]
		return side, Reordered
	},
	"changed": func(random *rand.Rand, side []written) ([]written, string) {
		at := random.IntN(len(side))
		side[at].word += 100
		return side, Changed
	},
	"added": func(random *rand.Rand, side []written) ([]written, string) {
		at := random.IntN(len(side) + 1)
		return slices.Insert(side, at, written{key: side[0].key, word: 77, stamp: 1 << 30}), OneSideOnly
	},
}

func limits(random *rand.Rand, t *testing.T) Terms {
	return Terms{PendingLimit: []int{3, 30, 100_000}[random.IntN(3)], SpillDir: t.TempDir()}
}

func TestEqualSidesHaveNoDifferenceHoweverTheyAreInterleaved(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 1))
		both := made(random, 1+random.IntN(20), 12, seed%2 == 0)
		matcher, found := play(t, random, both, limits(random, t))
		if counts, exact := found.Counts(); len(counts) > 0 || !exact {
			t.Fatalf("seed %d: %v", seed, counts)
		}
		want := int64(0)
		for _, each := range both[Source] {
			want += int64(len(each))
		}
		if got := matcher.Counts().Pairs; got != want {
			t.Fatalf("seed %d: %d pairs of %d", seed, got, want)
		}
	}
}

func TestOneFaultOfAKeyIsOneFindingOfItsKindAtItsPlace(t *testing.T) {
	for name, plant := range faults {
		for seed := range uint64(50) {
			random := rand.New(rand.NewPCG(seed, 2))
			both := made(random, 1+random.IntN(20), 12, true)
			side, key := Side(random.IntN(2)), random.IntN(len(both[Source]))
			before := slices.Clone(both[side][key])
			after, kind := plant(random, both[side][key])
			if both[side][key] = after; len(after) == 0 {
				delete(both[side], key)
			}
			_, found := play(t, random, both, limits(random, t))
			counts, _ := found.Counts()
			if want := map[string]int64{kind: 1}; !maps.Equal(counts, want) {
				t.Fatalf("%s, seed %d: %v, wanted %v; %v became %v", name, seed, counts, want, before, after)
			}
			sample := found.Samples()[0]
			if bare := sample.Source == nil || sample.Target == nil; bare != (kind == OneSideOnly || kind == Duplicate) {
				t.Fatalf("%s, seed %d: %+v", name, seed, sample)
			}
		}
	}
}

// TestManyFaultsAreAllAccountedFor compares with what counting alone says: every record is in a pair or in a finding.
func TestManyFaultsAreAllAccountedFor(t *testing.T) {
	names := slices.Sorted(maps.Keys(faults))
	for seed := range uint64(150) {
		random := rand.New(rand.NewPCG(seed, 3))
		both := made(random, 1+random.IntN(10), 12, seed%3 != 0)
		for range random.IntN(8) {
			side, key := Side(random.IntN(2)), random.IntN(10)
			if len(both[side][key]) > 0 {
				both[side][key], _ = faults[names[random.IntN(len(names))]](random, both[side][key])
			}
			if len(both[side][key]) == 0 {
				delete(both[side], key)
			}
		}
		records, differing := [2]int64{}, 0
		for key := range 10 {
			records[Source] += int64(len(both[Source][key]))
			records[Target] += int64(len(both[Target][key]))
			if !slices.Equal(both[Source][key], both[Target][key]) {
				differing++
			}
		}
		matcher, found := play(t, random, both, limits(random, t))
		counts, _ := found.Counts()
		if sum := total(counts); (sum > 0) != (differing > 0) || sum < int64(differing) {
			t.Fatalf("seed %d: %d keys differ, found %v", seed, differing, counts)
		}
		for side := range records {
			named := int64(0)
			for _, each := range found.Samples() {
				if each.On(Side(side)) != nil {
					named++
				}
			}
			if got := named + matcher.Counts().Pairs; got != records[side] {
				t.Fatalf("seed %d: %d of %d records of side %d are in pairs or findings: %v", seed, got, records[side], side, counts)
			}
		}
	}
}

func total(counts map[string]int64) int64 {
	sum := int64(0)
	for _, each := range counts {
		sum += each
	}
	return sum
}

// TestWhatIsFoundDoesNotDependOnTheDisk plays the same twice.
func TestWhatIsFoundDoesNotDependOnTheDisk(t *testing.T) {
	for seed := range uint64(50) {
		var told []map[string]int64
		for _, limit := range []int{1, 1_000_000} {
			random := rand.New(rand.NewPCG(seed, 4))
			both := made(random, 10, 12, true)
			for _, name := range []string{"dropped", "twice", "swapped"} {
				key := random.IntN(10)
				if len(both[Target][key]) > 2 {
					both[Target][key], _ = faults[name](random, both[Target][key])
				}
			}
			_, found := play(t, random, both, Terms{PendingLimit: limit, SpillDir: t.TempDir()})
			counts, _ := found.Counts()
			told = append(told, counts)
		}
		if !maps.Equal(told[0], told[1]) {
			t.Fatalf("seed %d: %v with the disk, %v without", seed, told[0], told[1])
		}
	}
}

func TestNothingIsLeftInTheFolderWhileItIsInUse(t *testing.T) {
	dir := t.TempDir()
	matcher := New(Terms{PendingLimit: 1, SpillDir: dir, Findings: NewFindings(1)})
	defer matcher.Close()
	for i := range 10 {
		if err := matcher.Take(Source, []Keyed{written{key: i}.keyed(int64(i), 0, 0)}); err != nil {
			t.Fatal(err)
		}
	}
	if counts := matcher.Counts(); counts.Spilled < 9 || counts.Waiting != 10 {
		t.Fatalf("%+v", counts)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Fatalf("%v %v", left, err)
	}
}

func TestAFolderThatIsNotThereIsSaid(t *testing.T) {
	matcher := New(Terms{PendingLimit: 1, SpillDir: "/nowhere", Findings: NewFindings(1)})
	err := matcher.Take(Source, []Keyed{written{key: 1}.keyed(1, 0, 0), written{key: 2}.keyed(2, 0, 0)})
	if err == nil || !strings.Contains(err.Error(), "cannot be written to disk") {
		t.Fatal(err)
	}
}

func TestWhatComesBeforeTheFirstPairOfAKeyIsDoubtfulWhereNobodyWasHeld(t *testing.T) {
	play := func(aligning bool, source, target []written) (Counts, map[string]int64) {
		terms := Terms{Aligning: aligning, PatienceMs: 500, Findings: NewFindings(10)}
		matcher := New(terms)
		defer matcher.Close()
		for side, words := range [][]written{source, target} {
			matcher.Began(Side(side), 1000)
			for i, each := range words {
				one := each.keyed(int64(i), 0, 0)
				one.Entry.TimeMs = 1000 + 100*int64(each.stamp)
				if err := matcher.Take(Side(side), []Keyed{one}); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = matcher.Settle(func(Side, *Entry) Ruling { return Blame })
		counts, _ := terms.Findings.Counts()
		return matcher.Counts(), counts
	}
	whole := []written{{1, 1, 1}, {1, 2, 2}, {1, 3, 3}, {1, 4, 9}}
	other := slices.Clone(whole)
	other[1].word = 8
	for name, each := range map[string]struct {
		aligning       bool
		source, target []written
		doubtful       int64
		found          map[string]int64
	}{
		"the target begins later":        {true, whole, whole[2:], 2, map[string]int64{}},
		"the source begins later":        {true, whole[1:], whole, 1, map[string]int64{}},
		"at a cut it is a difference":    {false, whole, whole[2:], 0, map[string]int64{OneSideOnly: 2}},
		"too late to be before":          {true, whole, nil, 3, map[string]int64{OneSideOnly: 1}},
		"after the first pair":           {true, whole, slices.Delete(slices.Clone(whole), 1, 2), 0, map[string]int64{OneSideOnly: 1}},
		"a difference of both is no gap": {true, whole[1:], other[1:], 0, map[string]int64{Changed: 1}},
	} {
		counts, found := play(each.aligning, each.source, each.target)
		if counts.DoubtfulStart != each.doubtful || !maps.Equal(found, each.found) {
			t.Errorf("%s: %d doubtful, %v", name, counts.DoubtfulStart, found)
		}
	}
}

func TestTimesAreComparedWhereBothAreStampedAndNoBrokerSetThem(t *testing.T) {
	for name, each := range map[string]struct {
		stamp int
		flags uint8
		want  map[string]int64
	}{
		"stamped":         {5, 0, map[string]int64{Changed: 1}},
		"not stamped":     {0, 0, map[string]int64{}},
		"set by a broker": {5, Untimed, map[string]int64{}},
	} {
		found := NewFindings(10)
		matcher := New(Terms{Findings: found})
		for side := range []Side{Source, Target} {
			one := written{1, 1, each.stamp}.keyed(0, 0, 0)
			one.Entry.TimeMs += int64(side)
			one.Entry.Flags = each.flags
			if err := matcher.Take(Side(side), []Keyed{one}); err != nil {
				t.Fatal(err)
			}
		}
		if counts, _ := found.Counts(); !maps.Equal(counts, each.want) {
			t.Errorf("%s: %v", name, counts)
		}
	}
}

func TestAKeyInSeveralPartitionsHasNoOrder(t *testing.T) {
	found := NewFindings(10)
	matcher := New(Terms{Findings: found})
	one, two, three := written{1, 1, 1}, written{1, 2, 2}, written{1, 3, 3}
	_ = matcher.Take(Source, []Keyed{one.keyed(0, 0, 0), two.keyed(0, 1, 0), three.keyed(1, 0, 0)})
	_ = matcher.Take(Target, []Keyed{three.keyed(0, 0, 0), two.keyed(1, 0, 0), one.keyed(2, 0, 0)})
	_ = matcher.Settle(func(Side, *Entry) Ruling { return Blame })
	if counts, _ := found.Counts(); len(counts) > 0 || matcher.Counts().Pairs != 3 {
		t.Fatalf("%v %+v", counts, matcher.Counts())
	}
}

func TestAPairThatACutDividesIsSeen(t *testing.T) {
	matcher := New(Terms{Findings: NewFindings(10)})
	for i := range 10 {
		for _, side := range []Side{Source, Target} {
			_ = matcher.Take(side, []Keyed{written{i, 1, 0}.keyed(int64(i), 0, 0)})
		}
	}
	at := func(source, target int64) int64 {
		return matcher.Astride(func(side Side, spot Spot) bool { return spot.Offset < [2]int64{source, target}[side] })
	}
	if at(5, 5) != 0 || at(5, 7) != 2 {
		t.Fatalf("%d %d", at(5, 5), at(5, 7))
	}
}

func TestAKeyThatDiffersForLongIsAlignedInPassing(t *testing.T) {
	found := NewFindings(10)
	matcher := New(Terms{Findings: found})
	for i := range 10_000 {
		one := written{1, i, i + 1}
		if err := matcher.Take(Source, []Keyed{one.keyed(int64(i), 0, 0)}); err != nil {
			t.Fatal(err)
		}
		if i != 3 {
			_ = matcher.Take(Target, []Keyed{one.keyed(int64(i), 0, 0)})
		}
		if pending := matcher.Counts().Pending; pending > alignEvery {
			t.Fatalf("%d are pending after %d", pending, i)
		}
	}
	if counts, exact := found.Counts(); !exact || !maps.Equal(counts, map[string]int64{OneSideOnly: 1}) {
		t.Fatalf("%v", counts)
	}
}

// TestTenMillionKeysReadFromOneSideFirst is the worst order: nothing has a counterpart until half of everything was read.
func TestTenMillionKeysReadFromOneSideFirst(t *testing.T) {
	if os.Getenv("CUTOVER_SLOW") == "" {
		t.Skip("it takes a minute and 1.7 GB of disk: set CUTOVER_SLOW=1")
	}
	const keys = 10_000_000
	debug.SetMemoryLimit(320 << 20) // as the process does
	debug.SetGCPercent(50)
	found := NewFindings(10)
	matcher := New(Terms{Findings: found, SpillDir: t.TempDir()})
	defer matcher.Close()
	batch := make([]Keyed, 0, 256)
	for _, side := range []Side{Source, Target} {
		for key := range keys {
			if side == Target && key == 4711 {
				continue
			}
			batch = append(batch, written{key, 1, key + 1}.keyed(int64(key), 0, 0))
			if len(batch) == cap(batch) || key == keys-1 {
				if err := matcher.Take(side, batch); err != nil {
					t.Fatal(err)
				}
				batch = batch[:0]
			}
		}
	}
	if err := matcher.Settle(func(Side, *Entry) Ruling { return Blame }); err != nil {
		t.Fatal(err)
	}
	counts, _ := found.Counts()
	if pairs := matcher.Counts().Pairs; pairs != keys-1 || !maps.Equal(counts, map[string]int64{OneSideOnly: 1}) {
		t.Fatalf("%d pairs, %v", pairs, counts)
	}
	if peak := peakBytes(t); peak > 500<<20 {
		t.Fatalf("%d MB resident at most", peak>>20)
	} else {
		t.Logf("%d MB resident at most", peak>>20)
	}
}

func peakBytes(t *testing.T) int64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the peak is read from /proc")
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	kilobytes := int64(0)
	if _, err := fmt.Sscan(after, &kilobytes); err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
