package audit

import (
	"slices"
	"testing"
)

func reporting(t *testing.T) (*judge, []message, []message) {
	t.Helper()
	j := judgeFor(t)
	j.config.Stragglers = "report"
	natives, copies := history(j)
	return j, natives, copies
}

// withLate puts records of nobody's behind the copies of partition 2.
func withLate(copies []message, producers ...int64) []message {
	for i, producer := range producers {
		copies = append(copies, message{q: 2, at: int64(10_000 + i), key: "late", value: "v", timeMs: int64(40 + i), producer: producer, bare: true})
	}
	return copies
}

func TestAStragglerIsToldWithItsPlaceAndWriterAndIsNoViolation(t *testing.T) {
	j, natives, copies := reporting(t)
	verdict := judged(t, j, natives, withLate(copies, stranger, -1))
	told := j.stragglers(&verdict)
	want := []Straggler{{2, 10_000, 40, stranger, false}, {2, 10_001, 41, -1, false}}
	if len(verdict.Violations) > 0 || verdict.Stragglers != 2 || len(told) != 1 || !slices.Equal(told[0].Records, want) || !told[0].Complete {
		t.Fatalf("%+v: %+v", verdict.Violations, told)
	}
}

func TestAStragglerIsAViolationWhereNobodySaysReport(t *testing.T) {
	j, natives, copies := reporting(t)
	j.config.Stragglers = ""
	verdict := judged(t, j, natives, withLate(copies, stranger))
	if told := j.stragglers(&verdict); verdict.Violations[Foreign] != 1 || len(told) != 0 {
		t.Fatalf("%+v: %+v", verdict.Violations, told)
	}
}

func TestALaneOfAnEndedEpochIsNoStraggler(t *testing.T) {
	j, natives, copies := reporting(t)
	j.writers[stranger] = true
	verdict := judged(t, j, natives, withLate(copies, stranger))
	if told := j.stragglers(&verdict); verdict.Violations[Foreign] != 1 || len(told) != 0 {
		t.Fatalf("%+v: %+v", verdict.Violations, told)
	}
}

func TestForgedProvenanceMakesNoCopyOfAStraggler(t *testing.T) {
	j, natives, copies := reporting(t)
	copies[20].producer = stranger // inside the window: its origin record has no copy by a lane
	verdict := judged(t, j, natives, copies)
	told := j.stragglers(&verdict)
	if verdict.Stragglers != 1 || !told[0].Records[0].Provenance || verdict.PairsEqual == verdict.PairsTotal {
		t.Fatalf("%+v: %+v", verdict, told)
	}
}

func TestANewcomerThatStaysUnknownIsAStraggler(t *testing.T) {
	j, natives, copies := past(t)
	j.config.Stragglers = "report"
	verdict := judged(t, j, natives, copies)
	for _, side := range j.sides {
		side.refuse()
	}
	if j.stragglers(&verdict); verdict.Stragglers != origins*each/2 || len(verdict.Violations) > 0 {
		t.Fatalf("%+v", verdict)
	}
}

func TestAFloodOfStragglersIsCountedAndNotAllNamed(t *testing.T) {
	j, natives, copies := reporting(t)
	verdict := judged(t, j, natives, copies)
	for i := range int64(stragglersKept + 7) {
		j.sides[3].late.add(Straggler{Partition: 3, Offset: i})
	}
	told := j.stragglers(&verdict)
	named := 0
	for _, each := range told {
		named += len(each.Records)
		if each.Complete || each.Count != stragglersKept+7 || len(each.Records) > stragglersTold {
			t.Fatalf("%d records, complete %v, count %d", len(each.Records), each.Complete, each.Count)
		}
	}
	if named != stragglersKept || verdict.Stragglers != stragglersKept+7 {
		t.Fatalf("%d named, %d counted", named, verdict.Stragglers)
	}
}

func TestStragglersOfOneWindowAreNotToldAgainInTheNext(t *testing.T) {
	j, natives, copies := reporting(t)
	verdict := judged(t, j, natives, withLate(copies, stranger))
	j.stragglers(&verdict)
	for _, side := range j.sides {
		side.turn()
	}
	next := Verdict{}
	if told := j.stragglers(&next); next.Stragglers != 0 || len(told) != 0 || j.stragglersTotal != 1 {
		t.Fatalf("%+v", told)
	}
}
