package audit

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"cutover/engine/audit/scan"
	"cutover/engine/provenance"
	"cutover/engine/wire"
)

const lane, stranger = 77, 78

// message is a record as a test thinks of it.
type message struct {
	p, q      int32
	o, at     int64 // origin offset; where it stands on the side it is taken from
	key       string
	value     string
	headers   []string // name, value, name, value ...
	timeMs    int64
	producer  int64
	logAppend bool
	claims    *provenance.Origin // instead of p and o
	bare      bool               // no provenance
}

func bytesOf(text string) []byte {
	if text == "null" {
		return nil
	}
	return []byte(text)
}

func sizedBytes(to, field []byte) []byte {
	if field == nil {
		return binary.AppendVarint(to, -1)
	}
	return append(binary.AppendVarint(to, int64(len(field))), field...)
}

// record encodes as a broker would send it; with more headers at the end.
func (m message) record(offset int64, more ...[]byte) *scan.Record {
	made := &scan.Record{Offset: offset, TimestampMs: m.timeMs, ProducerID: m.producer, LogAppendTime: m.logAppend, Key: bytesOf(m.key), Value: bytesOf(m.value)}
	made.Body = sizedBytes(sizedBytes(nil, made.Key), made.Value)
	for i := 0; i < len(m.headers); i += 2 {
		made.Headers = sizedBytes(sizedBytes(made.Headers, []byte(m.headers[i])), bytesOf(m.headers[i+1]))
		made.HeaderCount++
	}
	for i := 0; i < len(more); i += 2 {
		made.Headers = sizedBytes(sizedBytes(made.Headers, more[i]), more[i+1])
		made.HeaderCount++
	}
	return made
}

func (m message) native() *scan.Record { return m.record(m.o) }

func (m message) copied() *scan.Record {
	if m.bare {
		return m.record(m.at)
	}
	origin := provenance.Origin{Run: run, Epoch: 1, Partition: m.p, Offset: m.o}
	if m.claims != nil {
		origin = *m.claims
	}
	return m.record(m.at, []byte(provenance.Key), origin.Append(nil))
}

var run = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

const origins, followers, each = 3, 6, 200

func judgeFor(t testing.TB) *judge {
	t.Helper()
	made, err := newJudge(wire.Audit{
		RunID: run, Epoch: 1, Group: "g", Samples: 5, Partitioner: "murmur2", NullKeys: "keep_partition",
		Origin: wire.Topic{Name: "s", Partitions: origins}, Follower: wire.Topic{Name: "t", Partitions: followers},
	})
	if err != nil {
		t.Fatal(err)
	}
	made.lanes[lane], made.writers[lane] = true, true
	made.reached = wire.Offsets{}
	for p := range made.until {
		made.until[p], made.known[p] = each, true
	}
	return made
}

// history makes native records and their copies in the right places.
func history(j *judge) (natives, copies []message) {
	random := rand.New(rand.NewPCG(4, 2))
	ends := make([]int64, followers)
	for o := range int64(each) {
		for p := range int32(origins) {
			one := message{p: p, o: o, value: fmt.Sprint("v", random.IntN(50)), timeMs: 1000 + o, producer: 5, headers: []string{"a", "1", "b", "null"}}
			for { // a key of this partition
				one.key = fmt.Sprint("k", random.IntN(500))
				if j.rules.native.place([]byte(one.key), origins) == p {
					break
				}
			}
			if random.IntN(10) == 0 {
				one.key = "null"
			}
			natives = append(natives, one)
			one.q = j.rules.follower(one.native(), p, o)
			one.at, one.producer = ends[one.q], lane
			ends[one.q]++
			copies = append(copies, one)
		}
	}
	return natives, copies
}

// judged takes both sides in, each partition in a goroutine of its own as in life, and compares.
func judged(t testing.TB, j *judge, natives, copies []message) Verdict {
	t.Helper()
	sides := originSides{}
	var group sync.WaitGroup
	for p := range int32(origins) {
		sides[p] = newOriginSide(&j.terms, p)
	}
	for p, side := range sides {
		group.Go(func() {
			for _, one := range natives {
				if one.p == p {
					if err := side.Take(one.native()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for q := range int32(followers) {
		group.Go(func() {
			for _, one := range copies {
				if one.q == q {
					if err := j.sides[q].Take(one.copied()); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	verdict := j.compare(sides)
	if verdict.PairsEqual < verdict.PairsTotal && len(verdict.Violations) == 0 {
		verdict.Violations["differs"] = 1
	}
	return verdict
}

func TestAnEqualPairIsEqualInEveryPair(t *testing.T) {
	j := judgeFor(t)
	natives, copies := history(j)
	verdict := judged(t, j, natives, copies)
	if len(verdict.Violations) > 0 || verdict.PairsEqual != verdict.PairsTotal || verdict.Coverage.Proved != origins*each {
		t.Fatalf("%+v", verdict)
	}
}

func TestEveryFaultMakesTheSumsDiffer(t *testing.T) {
	swap := func(copies []message, content bool) []message {
		for i := range copies {
			for k := i + 1; k < len(copies); k++ {
				one, other := &copies[i], &copies[k]
				if one.p != other.p || one.q != other.q || one.key == "null" || other.key == "null" {
					continue
				}
				if content {
					one.o, other.o = other.o, one.o
					return copies
				}
				copies[i], copies[k] = copies[k], copies[i]
				return copies
			}
		}
		t.Fatal("nothing to swap")
		return nil
	}
	faults := map[string]func([]message) []message{
		"a hole":                func(c []message) []message { return append(c[:50:50], c[51:]...) },
		"a duplicate":           func(c []message) []message { return append(c, c[50]) },
		"a pair of duplicates":  func(c []message) []message { return append(append(c, c[50]), c[50]) },
		"swapped records":       func(c []message) []message { return swap(c, false) },
		"swapped provenance":    func(c []message) []message { return swap(c, true) },
		"another value":         func(c []message) []message { c[9].value = "other"; return c },
		"a tombstone":           func(c []message) []message { c[9].value = "null"; return c },
		"an empty value":        func(c []message) []message { c[9].value = ""; return c },
		"another time":          func(c []message) []message { c[9].timeMs++; return c },
		"headers in disorder":   func(c []message) []message { c[9].headers = []string{"b", "null", "a", "1"}; return c },
		"a header less":         func(c []message) []message { c[9].headers = c[9].headers[:2]; return c },
		"a header's null":       func(c []message) []message { c[9].headers = []string{"a", "1", "b", ""}; return c },
		"bytes moved in fields": func(c []message) []message { c[9].headers = []string{"a1", "", "b", "null"}; return c },
		"the wrong partition":   func(c []message) []message { c[9].q = (c[9].q + 1) % followers; return c },
		"a stranger":            func(c []message) []message { c[9].producer = stranger; return c },
		"no provenance":         func(c []message) []message { c[9].bare = true; return c },
		"another run":           func(c []message) []message { c[9].claims = &provenance.Origin{Epoch: 1}; return c },
		"another epoch": func(c []message) []message {
			c[9].claims = &provenance.Origin{Run: run, Epoch: 2, Partition: 1}
			return c
		},
		"no such partition": func(c []message) []message {
			c[9].claims = &provenance.Origin{Run: run, Epoch: 1, Partition: 99}
			return c
		},
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			j := judgeFor(t)
			natives, copies := history(j)
			if verdict := judged(t, j, natives, fault(copies)); len(verdict.Violations) == 0 {
				t.Fatalf("nobody noticed: %+v", verdict.Pairs)
			}
		})
	}
}

func TestTwoFaultsThatWouldCancelInAnXORDoNot(t *testing.T) {
	var one, two sum
	digest := newDigester()
	record := message{key: "k", value: "v"}.native()
	plain, timed := digest.record(1, 2, content{body: record.Body}, 3)
	for range 2 {
		one.add(2, plain, timed, false)
	}
	other, otherTimed := digest.record(1, 3, content{body: record.Body}, 3)
	for range 2 {
		two.add(2, other, otherTimed, false)
	}
	if one.equal(&two) {
		t.Fatal("two of one record equal two of another")
	}
}

func TestTimestampsOfBrokersAreLeftOut(t *testing.T) {
	j := judgeFor(t)
	natives, copies := history(j)
	for i := range copies {
		copies[i].timeMs, copies[i].logAppend = 9999, true
	}
	verdict := judged(t, j, natives, copies)
	if len(verdict.Violations) > 0 || len(verdict.DigestFields) != 5 || verdict.DigestNote == "" {
		t.Fatalf("%+v", verdict)
	}
}

func TestTheOriginIsJudgedByItself(t *testing.T) {
	j := judgeFor(t)
	natives, copies := history(j)
	natives[10].producer = lane
	for i := range natives {
		if natives[i].p == 0 && natives[i].key != "null" {
			natives[i].p, natives[i].o = 1, each-1
			break
		}
	}
	verdict := judged(t, j, natives, copies)
	if verdict.Violations[Loop] != 1 || verdict.Violations[OffHash] != 1 {
		t.Fatalf("%+v", verdict.Violations)
	}
}

func TestWhatIsReadPastAWindowBelongsToTheNext(t *testing.T) {
	j := judgeFor(t)
	natives, copies := history(j)
	var early, late []message
	for p := range j.until {
		j.until[p] = each / 2
	}
	for _, one := range natives {
		if one.o < each/2 {
			early = append(early, one)
		} else {
			late = append(late, one)
		}
	}
	first := judged(t, j, early, copies) // the follower shows everything already
	if len(first.Violations) > 0 || first.Coverage.Proved != origins*each/2 || first.Coverage.Later != origins*each/2 {
		t.Fatalf("%+v", first)
	}
	j.first = false
	for p := range j.until {
		j.from[p], j.readable[p], j.until[p] = j.until[p], j.until[p], each
	}
	for _, side := range j.sides {
		side.turn()
	}
	if second := judged(t, j, late, nil); len(second.Violations) > 0 || second.Coverage.Proved != origins*each/2 {
		t.Fatalf("%+v", second)
	}
	for _, side := range j.sides {
		side.turn()
	}
	again := copies[3]
	if third := judged(t, j, nil, []message{again}); third.Violations[Duplicate]+third.Violations["differs"] == 0 {
		t.Fatal("a copy of a record of an earlier window passed")
	}
}

func TestRecordsOfAnExpiredOriginAreCountedNotJudged(t *testing.T) {
	j := judgeFor(t)
	natives, copies := history(j)
	j.readable[1] = 30
	kept := natives[:0]
	for _, one := range natives {
		if one.p != 1 || one.o >= 30 {
			kept = append(kept, one)
		}
	}
	verdict := judged(t, j, kept, copies)
	if len(verdict.Violations) > 0 || verdict.Coverage.Unproved != 30 || len(verdict.Coverage.Gaps) != 1 {
		t.Fatalf("%+v", verdict)
	}
}

func TestAGoneProvenanceOfAnEarlierRunIsNoDifferenceOnTheOriginAndOneOnTheFollower(t *testing.T) {
	old := string(provenance.Origin{Run: [8]byte{9}}.Append(nil))
	j := judgeFor(t)
	natives, copies := history(j)
	natives[5].headers = []string{"a", "1", provenance.Key, old, "b", "null"}
	if verdict := judged(t, j, natives, copies); len(verdict.Violations) > 0 {
		t.Fatalf("%+v", verdict.Violations)
	}
	j = judgeFor(t)
	copies[5].headers = natives[5].headers
	if verdict := judged(t, j, natives, copies); len(verdict.Violations) == 0 {
		t.Fatal("an old provenance on the follower passed")
	}
}

func BenchmarkBothSides(b *testing.B) {
	j := judgeFor(b)
	natives, copies := history(j)
	nativeRecords, copiedRecords := make([]*scan.Record, len(natives)), make([]*scan.Record, len(copies))
	for i := range natives {
		nativeRecords[i], copiedRecords[i] = natives[i].native(), copies[i].copied()
	}
	sides := originSides{}
	for p := range int32(origins) {
		sides[p] = newOriginSide(&j.terms, p)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		n := i % len(natives)
		_ = sides[natives[n].p].Take(nativeRecords[n])
		_ = j.sides[copies[n].q].Take(copiedRecords[n])
		i++
	}
}
