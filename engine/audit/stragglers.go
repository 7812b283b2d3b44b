package audit

import (
	"slices"
	"time"

	"cutover/engine/audit/scan"
)

const (
	stragglersKept = 100_000 // on one follower partition in one window; what comes beyond is counted
	stragglersTold = 5000    // in one event
)

// late are the stragglers of one follower partition in one window.
type late struct {
	records []Straggler
	count   int64
}

func (l *late) add(one Straggler) {
	l.count++
	if len(l.records) < stragglersKept {
		l.records = append(l.records, one)
	}
}

// reports says whether a foreign record is a straggler's and not a violation. A lane of this run, of whichever epoch, is none.
func (s *followerSide) reports(producer int64) bool {
	return s.config.Stragglers == "report" && !s.writers[producer]
}

func (s *followerSide) straggler(record *scan.Record, provenance bool) Straggler {
	return Straggler{Partition: s.partition, Offset: record.Offset, TimestampMs: record.TimestampMs, ProducerID: record.ProducerID, Provenance: provenance}
}

// stragglers makes the events of one window, and counts them into its verdict.
func (j *judge) stragglers(v *Verdict) []Stragglers {
	var all []Straggler
	for _, side := range j.sides {
		all = append(all, side.late.records...)
		v.Stragglers += side.late.count
	}
	j.stragglersTotal += v.Stragglers
	var told []Stragglers
	for some := range slices.Chunk(all, stragglersTold) {
		told = append(told, Stragglers{Event: "stragglers", AtMs: time.Now().UnixMilli(), Window: v.Window, Topic: j.config.Follower.Name,
			Records: some, Count: v.Stragglers, Total: j.stragglersTotal, Complete: int64(len(all)) == v.Stragglers})
	}
	return told
}
