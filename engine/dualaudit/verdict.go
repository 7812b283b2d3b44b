package dualaudit

import (
	"context"
	"fmt"
	"time"

	"cutover/engine/audit"
	"cutover/engine/dualaudit/match"
	"cutover/engine/wire"
)

// verdict says what everything read so far shows.
func (j *judge) verdict(ctx context.Context) Verdict {
	j.window++
	counts := j.matcher.Counts()
	took := max(time.Since(j.began).Seconds(), 1e-3)
	made := Verdict{
		Event: "dual_verdict", AtMs: nowMs(), Window: j.window, Bounds: j.bounds(), Coverage: j.coverage(&counts),
		Accepted: map[string]int64{}, Spilled: counts.SpilledEver, RecordsRead: j.recordsRead(), Seconds: took,
		RecordsPerSecond: float64(j.recordsRead()) / took, Samples: []Sample{},
	}
	made.Violations, made.ViolationsExact = j.findings.Counts()
	if count := j.topics[match.Source].offHash() + j.topics[match.Target].offHash(); count > 0 {
		made.Accepted[match.OffHash] = count
	}
	made.Result = j.result(&made, &counts)
	made.Standing = made.Result
	j.standing.Store(made.Standing)
	if made.Result == audit.Violated {
		made.Samples = j.samples(ctx)
	}
	return made
}

func (j *judge) result(v *Verdict, counts *match.Counts) string {
	switch {
	case len(v.Violations) > 0:
		return audit.Violated
	case len(v.Coverage.Gaps) > 0 || counts.DoubtfulEnd > 0:
		return audit.Unproved
	}
	return audit.Proved
}

func (j *judge) bounds() Bounds {
	source, target := j.topics[match.Source], j.topics[match.Target]
	made := Bounds{SourceFrom: source.from, SourceUntil: source.until, TargetFrom: target.from, TargetUntil: target.until}
	if j.config.Follow {
		made.SourceUntil, made.TargetUntil = source.reached(), target.reached()
	}
	return made
}

func (j *judge) coverage(counts *match.Counts) Coverage {
	source, target := j.topics[match.Source], j.topics[match.Target]
	made := Coverage{
		SourceRecords: source.records(), TargetRecords: target.records(), Matched: counts.Pairs,
		DoubtfulStart: counts.DoubtfulStart, Doubtful: counts.Waiting + counts.DoubtfulEnd, Gaps: []Gap{},
	}
	made.Gaps = append(append(made.Gaps, source.gaps...), target.gaps...)
	if counts.Compacted > 0 {
		side := source
		if !j.config.Source.Compacted {
			side = target
		}
		made.Gaps = append(made.Gaps, Gap{Side: side.name(), Topic: side.Topic.Name, Partition: -1, Records: counts.Compacted,
			Why: "it is compacted: records without a counterpart may have been removed, or written on one side only"})
	}
	return made
}

// cut tells what the verdict proved as a pair of vectors.
func (j *judge) cut(v *Verdict, source, target wire.Offsets, exact bool) audit.VerifiedCut {
	made := audit.VerifiedCut{Event: "verified_cut", AtMs: v.AtMs, Window: v.Window, Origin: source, Follower: target, Exact: exact}
	if exact {
		return made
	}
	made.AtMs = min(j.topics[match.Source].stoodMs, j.topics[match.Target].stoodMs)
	if oldest, pending := j.matcher.Oldest(); pending {
		made.AtMs = min(made.AtMs, oldest)
	}
	return made
}

// straddled says that a cut took one record of a pair only.
func straddled(count int64, side *topic) Gap {
	return Gap{Side: side.name(), Topic: side.Topic.Name, Partition: -1, Records: count,
		Why: fmt.Sprintf("it is no cut: %d records have their counterparts past it", count)}
}
