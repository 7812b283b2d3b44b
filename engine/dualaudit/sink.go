package dualaudit

import (
	"cmp"

	"cutover/engine/audit/scan"
	"cutover/engine/dualaudit/match"
	"cutover/engine/partition"
	"cutover/engine/wire"
)

const sinkRecords = 256 // handed to the matcher at once

// formula is a side's partitioner.
type formula struct {
	place       partition.Func
	emptyIsNull bool
}

func formulaOf(name string) (formula, error) {
	place, err := partition.Place(name)
	if err != nil {
		return formula{}, wire.Faultf("bad_configuration", "%v", err)
	}
	return formula{place: place, emptyIsNull: partition.EmptyKeyIsRandom(name)}, nil
}

func (f *formula) decides(key []byte) bool { return key != nil && (len(key) > 0 || !f.emptyIsNull) }

// terms are what all partitions of both sides share.
type terms struct {
	config   wire.DualAudit
	digest   digester
	formulas [2]formula
	matcher  *match.Matcher
	findings *match.Findings
}

func termsOf(config wire.DualAudit) (*terms, error) {
	source, err := formulaOf(config.SourcePartitioner)
	if err != nil {
		return nil, err
	}
	target, err := formulaOf(cmp.Or(config.TargetPartitioner, config.SourcePartitioner))
	if err != nil {
		return nil, err
	}
	findings := match.NewFindings(config.Samples)
	matcher := match.New(match.Terms{
		PendingLimit: config.PendingLimit, SpillDir: config.SpillDir, Aligning: config.Align, PatienceMs: config.PatienceMs,
		Compacted: config.Source.Compacted || config.Target.Compacted, Findings: findings,
	})
	return &terms{config: config, digest: newDigester(), formulas: [2]formula{source, target}, matcher: matcher, findings: findings}, nil
}

// decides reports whether the key says the partition on both sides: else there is no order of the key.
func (t *terms) decides(key []byte) bool {
	return t.formulas[match.Source].decides(key) && t.formulas[match.Target].decides(key)
}

// sink takes the records of one partition.
type sink struct {
	*terms
	side      match.Side
	partition int32
	count     int32 // of partitions
	at        int64 // the next offset to take
	end       int64 // what lies at or past it is Later
	begun     bool
	records   int64
	offHash   int64
	buffer    []match.Keyed
}

// Take hashes a record, checks its place and puts it with those that wait for the matcher.
func (s *sink) Take(record *scan.Record) error {
	decides := s.decides(record.Key)
	made, err := s.digest.keyed(record, s.partition, decides)
	if err != nil {
		return err
	}
	if record.Offset >= s.end {
		made.Entry.Flags |= match.Later
	} else {
		s.records++
		s.check(record, &made, decides)
	}
	if !s.begun {
		s.begun = true
		s.matcher.Began(s.side, record.TimestampMs)
	}
	s.at = record.Offset + 1
	s.buffer = append(s.buffer, made)
	if len(s.buffer) == sinkRecords {
		return s.flush()
	}
	return nil
}

// check looks at what one record alone shows: its place, and whether it is stamped.
func (s *sink) check(record *scan.Record, made *match.Keyed, decides bool) {
	if decides {
		if home := s.formulas[s.side].place(record.Key, s.count); home != s.partition {
			s.astray(made, home)
		}
	}
	if s.config.Stamps == "required" && made.Entry.Stamp == 0 {
		s.findings.Add(s.alone(match.Unstamped, made))
	}
}

func (s *sink) astray(made *match.Keyed, home int32) {
	if s.config.OffHash == "accepted" {
		s.offHash++
		return
	}
	found := s.alone(match.OffHash, made)
	found.Expected = home
	s.findings.Add(found)
}

func (s *sink) alone(kind string, made *match.Keyed) match.Finding {
	entry := made.Entry
	if s.side == match.Source {
		return match.Finding{Kind: kind, Source: &entry}
	}
	return match.Finding{Kind: kind, Target: &entry}
}

// flush gives what was taken to the matcher.
func (s *sink) flush() error {
	if len(s.buffer) == 0 {
		return nil
	}
	seen := nowMs()
	for i := range s.buffer {
		s.buffer[i].Entry.SeenMs = seen
	}
	err := s.matcher.Take(s.side, s.buffer)
	s.buffer = s.buffer[:0]
	return err
}
