package dualaudit

import (
	"testing"

	"cutover/engine/audit/scan"
	"cutover/engine/wire"
)

func side(at ...int64) *topic {
	made := &topic{}
	for p, offset := range at {
		made.sinks = append(made.sinks, &sink{partition: int32(p), at: offset})
	}
	return made
}

func TestWhatALogHeldAtAMomentIsReadThoughSomeTransactionIsAlwaysOpen(t *testing.T) {
	log := side(10, 10)
	log.stand(ends{askMs: 1, high: wire.Offsets{0: 10, 1: 12}})
	if log.stoodMs != 0 {
		t.Fatal("two offsets of partition 1 are not read")
	}
	log.sinks[1].at = 11
	log.stand(ends{askMs: 2, high: wire.Offsets{0: 14, 1: 14}})
	if log.stoodMs != 0 {
		t.Fatal("one offset of partition 1 is not read")
	}
	log.sinks[0].at, log.sinks[1].at = 11, 13
	log.stand(ends{askMs: 3, high: wire.Offsets{0: 16, 1: 16}})
	if log.stoodMs != 1 {
		t.Fatalf("everything of moment 1 was read, it says %d", log.stoodMs)
	}
	log.sinks[0].at, log.sinks[1].at = 17, 17
	log.stand(ends{askMs: 4, high: wire.Offsets{0: 17, 1: 17}})
	if log.stoodMs != 4 {
		t.Fatalf("it stands at its end, it says %d", log.stoodMs)
	}
}

func TestRoundsTakeTheSameShareOfEveryPartition(t *testing.T) {
	log := side(0, 100)
	until := wire.Offsets{0: 10, 1: 1100, 2: 5}
	got := log.ranges(until, 10)
	if got[0] != (scan.Range{From: 0, Until: 1}) || got[1] != (scan.Range{From: 100, Until: 200}) || len(got) != 2 {
		t.Fatalf("%v", got)
	}
	for rounds := int64(10); rounds > 0; rounds-- {
		for p, each := range log.ranges(until, rounds) {
			log.sinks[p].at = each.Until
		}
	}
	if log.left(until) != 0 {
		t.Fatalf("%v", log.reached())
	}
}

func TestAStampHasItsForm(t *testing.T) {
	for value, is := range map[string]bool{
		"a:b:1:22": true, "host-1:x9:0:0": true, "": false, "a:b:1": false, "a:b:1:": false, "a:b:c:1": false, "a:b:1:2:3": false, "a:b:-1:2": false,
	} {
		if isStamp([]byte(value)) != is {
			t.Errorf("%q", value)
		}
	}
}
