package audit

import "testing"

// past lets the window end halfway, and a producer that no position names write all that is behind it.
func past(t *testing.T) (*judge, []message, []message) {
	t.Helper()
	j := judgeFor(t)
	natives, copies := history(j)
	early := natives[:0:0]
	for _, one := range natives {
		if one.o < each/2 {
			early = append(early, one)
		}
	}
	for p := range j.until {
		j.until[p] = each / 2
	}
	for i := range copies {
		if copies[i].o >= each/2 {
			copies[i].producer = stranger
		}
	}
	return j, early, copies
}

func TestARecordPastTheWindowWaitsUntilItsWriterIsKnown(t *testing.T) {
	j, natives, copies := past(t)
	verdict := judged(t, j, natives, copies)
	if len(verdict.Violations) > 0 || verdict.Coverage.Later != 0 || !j.someAreNew() {
		t.Fatalf("%+v", verdict)
	}
	j.lanes[stranger] = true
	for _, side := range j.sides {
		side.settle()
		side.refuse()
	}
	if verdict := j.compare(originSides{}); len(verdict.Violations) > 0 || verdict.Coverage.Later != origins*each/2 || j.someAreNew() {
		t.Fatalf("%+v", verdict)
	}
}

func TestAWriterThatStaysUnknownIsForeign(t *testing.T) {
	j, natives, copies := past(t)
	judged(t, j, natives, copies)
	for _, side := range j.sides {
		side.settle()
		side.refuse()
	}
	verdict := j.compare(originSides{})
	if verdict.Violations[Foreign] != origins*each/2 || len(verdict.Samples) == 0 || verdict.Coverage.Later != 0 {
		t.Fatalf("%+v", verdict)
	}
}

func TestAWriterInsideTheWindowIsForeignAtOnce(t *testing.T) {
	j := judgeFor(t)
	natives, copies := history(j)
	copies[20].producer = stranger
	if verdict := judged(t, j, natives, copies); verdict.Violations[Foreign] != 1 || j.someAreNew() {
		t.Fatalf("%+v", verdict.Violations)
	}
}
