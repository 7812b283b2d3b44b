package translate

import (
	"errors"
	"fmt"
	"maps"
	"math/rand"
	"slices"
	"testing"

	"cutover/engine/wire"
)

// history is a pair through its epochs: what each one's mirror wrote, and where each began and ended on both topics.
type history struct {
	layouts []*layout
	epochs  []Epoch
	source  wire.Topic
	target  wire.Topic
}

// live makes a history of so many epochs; the last one goes on.
func live(rng *rand.Rand, s shape, epochs int) *history {
	h := &history{source: wire.Topic{Name: "s", ID: wire.TopicID{1}, Partitions: s.n}, target: wire.Topic{Name: "t", ID: wire.TopicID{2}, Partitions: s.m}}
	ends := map[wire.TopicID]wire.Offsets{h.source.ID: zeros(s.n), h.target.ID: zeros(s.m)}
	for number := range epochs {
		epoch := Epoch{Epoch: uint32(number), Group: "g", Origin: h.source, Follower: h.target}
		if number%2 == 1 {
			epoch.Origin, epoch.Follower = h.target, h.source
		}
		one := s
		one.n, one.m, one.records = epoch.Origin.Partitions, epoch.Follower.Partitions, s.records*rng.Intn(4)/3
		epoch.Start, epoch.FollowerStart = maps.Clone(ends[epoch.Origin.ID]), maps.Clone(ends[epoch.Follower.ID])
		wrote := generate(rng, one)
		wrote.shift(epoch.Start, epoch.FollowerStart)
		ends[epoch.Origin.ID], ends[epoch.Follower.ID] = further(rng, wrote.origins), further(rng, wrote.ends)
		if number < epochs-1 {
			epoch.End, epoch.FollowerEnd = maps.Clone(ends[epoch.Origin.ID]), maps.Clone(ends[epoch.Follower.ID])
		}
		h.layouts, h.epochs = append(h.layouts, wrote), append(h.epochs, epoch)
	}
	return h
}

func zeros(partitions int32) wire.Offsets {
	offsets := wire.Offsets{}
	for p := range partitions {
		offsets[p] = 0
	}
	return offsets
}

// further adds markers at some ends.
func further(rng *rand.Rand, ends map[int32]int64) wire.Offsets {
	later := wire.Offsets{}
	for _, p := range slices.Sorted(maps.Keys(ends)) {
		later[p] = ends[p] + int64(rng.Intn(2))
	}
	return later
}

// shift puts a layout where its epoch begins.
func (l *layout) shift(origin, follower wire.Offsets) {
	for q, batches := range l.batches {
		for i := range batches {
			batches[i].From += follower[q]
			batches[i].Until += follower[q]
			for k := range batches[i].Seen {
				batches[i].Seen[k].At += follower[q]
				batches[i].Seen[k].Origin += origin[batches[i].Seen[k].Parent]
			}
		}
	}
	for q := range l.lineage.FollowerCount {
		l.ends[q] += follower[q]
	}
	for p := range l.lineage.OriginCount {
		l.origins[p] += origin[p]
	}
}

// legs is what a request in this direction crosses.
func (h *history) legs(direction string) []*leg {
	request := Request{Direction: direction, Epochs: h.epochs}
	if err := request.check(); err != nil {
		panic(err)
	}
	var legs []*leg
	for i := range h.epochs {
		epoch, wrote := &h.epochs[i], h.layouts[i]
		seen := &view{begins: epoch.FollowerStart, ends: wrote.ends, mirror: wrote.origins, start: epoch.Start}
		if epoch.End != nil {
			seen.ends, seen.mirror = epoch.FollowerEnd, epoch.End
		}
		legs = append(legs, &leg{epoch: epoch, view: seen, forward: request.forward(epoch), mirrored: wrote, wide: wrote})
	}
	return legs
}

// twin is one record on both topics.
type twin struct {
	epoch int
	given coordinates
	other coordinates
}

type coordinates struct {
	partition int32
	offset    int64
}

func (h *history) twins(legs []*leg) []twin {
	var all []twin
	for i, wrote := range h.layouts {
		for q := range wrote.lineage.FollowerCount {
			for _, seen := range wrote.all(q) {
				origin, follower := coordinates{seen.Parent, seen.Origin}, coordinates{q, seen.At}
				if !legs[i].forward {
					origin, follower = follower, origin
				}
				all = append(all, twin{i, origin, follower})
			}
		}
	}
	return all
}

// wanted reads everything: per partition of the other topic the first record that was not read, and how many behind it were.
func wanted(twins []twin, vector, otherwise wire.Offsets) (first, again wire.Offsets) {
	first, again = maps.Clone(otherwise), zeros(int32(len(otherwise)))
	for _, each := range twins {
		if at := each.other; each.given.offset >= vector[each.given.partition] && at.offset < first[at.partition] {
			first[at.partition] = at.offset
		}
	}
	for _, each := range twins {
		if at := each.other; each.given.offset < vector[each.given.partition] && at.offset >= first[at.partition] {
			again[at.partition]++
		}
	}
	return first, again
}

// anywhere draws a vector over the topic that is given: of one epoch, or each partition in an epoch of its own.
func anywhere(rng *rand.Rand, legs []*leg) wire.Offsets {
	vector, one := wire.Offsets{}, rng.Intn(len(legs))
	for p := range int32(len(lasts(legs))) {
		in := legs[one]
		if rng.Intn(3) == 0 {
			in = legs[rng.Intn(len(legs))]
		}
		from, until, _, _ := in.span()
		end, ended := until[p]
		if !ended {
			end = lasts(legs)[p]
		}
		vector[p] = from[p] + rng.Int63n(end-from[p]+1)
	}
	return vector
}

// lasts gives the end of the topic that is given.
func lasts(legs []*leg) wire.Offsets {
	if last := legs[len(legs)-1]; !last.forward {
		return last.view.ends
	}
	return legs[len(legs)-1].view.mirror
}

func crossed(t *testing.T, legs []*leg, vector wire.Offsets) (composed, again wire.Offsets) {
	t.Helper()
	for _, each := range legs {
		from, until, _, _ := each.span()
		each.given, each.passed = within(vector, from, until), each.isPassed(vector)
		if _, err := each.settle(t.Context(), true); err != nil {
			t.Fatal(err)
		}
	}
	composed, again = compose(legs), wire.Offsets{}
	for _, each := range legs {
		counted, _, err := each.again(t.Context(), composed)
		if err != nil {
			t.Fatal(err)
		}
		for p, records := range counted {
			again[p] += records
		}
	}
	return composed, again
}

// everyHistory runs the check over many histories, directions and vectors.
func everyHistory(t *testing.T, check func(legs []*leg, twins []twin, vector wire.Offsets) error) {
	for name, s := range shapes {
		t.Run(name, func(t *testing.T) {
			for seed := range int64(12) {
				rng := rand.New(rand.NewSource(seed))
				s := s
				s.records /= 4
				h := live(rng, s, 1+rng.Intn(4))
				for _, direction := range []string{SourceToTarget, TargetToSource} {
					legs := h.legs(direction)
					twins := h.twins(legs)
					for range 6 {
						vector := anywhere(rng, legs)
						if err := check(legs, twins, vector); err != nil {
							t.Fatalf("seed %d, %d epochs, %s, %v: %v", seed, len(legs), direction, vector, err)
						}
					}
				}
			}
		})
	}
}

func TestPositionsAndDuplicatesAcrossEpochsAgreeWithAFullScan(t *testing.T) {
	everyHistory(t, func(legs []*leg, twins []twin, vector wire.Offsets) error {
		composed, again := crossed(t, legs, vector)
		otherwise := legs[len(legs)-1].view.mirror
		if legs[len(legs)-1].forward {
			otherwise = legs[len(legs)-1].view.ends
		}
		first, counted := wanted(twins, vector, otherwise)
		if !maps.Equal(composed, first) {
			return fmt.Errorf("positions %v, a full scan says %v", composed, first)
		}
		if !maps.Equal(again, counted) {
			return fmt.Errorf("read again %v, a full scan says %v", again, counted)
		}
		return nil
	})
}

func TestNothingIsReadAgainAtACut(t *testing.T) {
	everyHistory(t, func(legs []*leg, twins []twin, _ wire.Offsets) error {
		for _, each := range legs[:len(legs)-1] {
			_, givenUntil, _, until := each.span()
			composed, again := crossed(t, legs, givenUntil)
			for p, records := range again {
				if records != 0 {
					return fmt.Errorf("epoch %d: %d of partition %d are read again at the cut, from %d", each.epoch.Epoch, records, p, composed[p])
				}
			}
			for _, one := range twins { // nothing is lost either, and nothing before the cut is read
				read := one.other.offset < composed[one.other.partition]
				if read != (one.given.offset < givenUntil[one.given.partition]) || read != (one.other.offset < until[one.other.partition]) {
					return fmt.Errorf("epoch %d: the record at %v is on one side of the cut on the one topic only", each.epoch.Epoch, one)
				}
			}
		}
		return nil
	})
}

func TestEpochsThatDoNotMeetAreRefused(t *testing.T) {
	for name, change := range map[string]func(*Request){
		"no epoch":                  func(r *Request) { r.Epochs = nil },
		"another direction":         func(r *Request) { r.Direction = "sideways" },
		"several by sides":          func(r *Request) { r.Direction = OriginToFollower },
		"out of order":              func(r *Request) { r.Epochs[1].Epoch = 0 },
		"an end is missing":         func(r *Request) { r.Epochs[0].End = nil },
		"a gap on the origin":       func(r *Request) { r.Epochs[0].FollowerEnd[0]++ },
		"a gap on the follower":     func(r *Request) { r.Epochs[1].FollowerStart[0]++ },
		"a start is missing":        func(r *Request) { delete(r.Epochs[1].Start, 0) },
		"another topic":             func(r *Request) { r.Epochs[1].Origin.ID = wire.TopicID{9} },
		"an epoch without a group":  func(r *Request) { r.Epochs[2].Group = "" },
		"what is missing not named": func(r *Request) { r.Missing = "nowhere" },
	} {
		h := live(rand.New(rand.NewSource(1)), shapes["nested 6 to 24"], 3)
		request := Request{Direction: SourceToTarget, Epochs: h.epochs}
		if err := request.check(); err != nil {
			t.Fatal(err)
		}
		change(&request)
		var fault *wire.Fault
		if err := request.check(); !errors.As(err, &fault) || fault.Name != "bad_command" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARequestThatBeginsWithAnOddEpochHasTheSourceAsItsFollower(t *testing.T) {
	h := live(rand.New(rand.NewSource(1)), shapes["nested 6 to 24"], 3)
	request := Request{Direction: SourceToTarget, Epochs: h.epochs[1:]}
	if err := request.check(); err != nil || request.forward(&h.epochs[1]) || !request.forward(&h.epochs[2]) {
		t.Fatalf("%v", err)
	}
}

func TestAnEpochSaysItselfWhichTopicItsOriginIs(t *testing.T) {
	h := live(rand.New(rand.NewSource(1)), shapes["nested 6 to 24"], 3)
	fromTarget := false
	epoch := h.epochs[2]
	epoch.FromSource = &fromTarget
	request := Request{Direction: SourceToTarget, Epochs: []Epoch{epoch}}
	if err := request.check(); err != nil || request.forward(&request.Epochs[0]) {
		t.Fatalf("%v", err)
	}
}

func TestWhatIsLostIsOnlyWhatNobodyHasAnyMore(t *testing.T) {
	h := live(rand.New(rand.NewSource(1)), shapes["nested 6 to 24"], 2)
	start, end := h.epochs[1].FollowerStart[0], h.layouts[1].ends[0] // of the source, the follower of epoch 1
	for _, one := range []struct {
		at, begin, lost, given int64
	}{
		{0, start - 1, 0, 0}, // epoch 0's records are on the target
		{0, start + 5, 5, 0}, // those of epoch 1 that expired on the source can no longer be told
		{start + 2, start + 5, 3, start + 5},
		{start + 5, start + 5, 0, start + 5},
		{end, start + 5, 0, end},
	} {
		legs := h.legs(SourceToTarget)
		answer := &Answer{Given: wire.Offsets{0: one.at}, Lost: wire.Offsets{}}
		for _, each := range legs {
			from, until, _, _ := each.span()
			if each.given, each.passed = within(answer.Given, from, until), each.isPassed(answer.Given); each.passed {
				each.view.start = nil // nothing is asked of an epoch that was passed
			}
			each.lose(wire.Offsets{0: one.begin}, answer)
		}
		if answer.Lost[0] != one.lost || answer.Given[0] != one.given {
			t.Errorf("%+v: %d lost, from %d", one, answer.Lost[0], answer.Given[0])
		}
	}
}
