package audit

import (
	"context"
	"time"

	"cutover/engine/audit/scan"
	"cutover/engine/provenance"
	"cutover/engine/wire"
)

const (
	deferredMost = 1 << 20         // records of newcomers on one follower partition in one window
	introduction = 5 * time.Second // for the mirror's positions to name who wrote past the window already
)

// A newcomer is a producer id that no position names yet, and that wrote our provenance past the window: a lane that got a new id
// (its epochs ran out) since the positions were read, or a forger. Its records wait until a newer position tells.
type newcomer struct {
	records []deferred
	sample  func() Sample
}

type deferred struct {
	at           int64 // on the follower
	timestampMs  int64
	p            int32
	o            int64
	plain, timed number
	logAppend    bool
}

// isNewcomer reports whether nothing but an unknown producer id speaks against the record, and the window ends before it.
func (s *followerSide) isNewcomer(record *scan.Record, origin provenance.Origin, is bool) bool {
	return is && !s.lanes[record.ProducerID] && s.misnamed(origin) == "" && origin.Offset >= s.until[origin.Partition]
}

func (s *followerSide) postpone(record *scan.Record, origin provenance.Origin, what content) error {
	if s.newcomers == nil {
		s.newcomers = map[int64]*newcomer{}
	}
	from := s.newcomers[record.ProducerID]
	if from == nil {
		made := s.sample(record, origin, true, s.unknown(record, true))
		from = &newcomer{sample: func() Sample { return made }}
		s.newcomers[record.ProducerID] = from
	}
	if len(from.records) == deferredMost {
		return wire.Faultf("engine_failed", "producer id %d wrote more than %d records past the window that no position names", record.ProducerID, deferredMost)
	}
	plain, timed := s.digest.record(origin.Partition, origin.Offset, what, record.TimestampMs)
	from.records = append(from.records, deferred{record.Offset, record.TimestampMs, origin.Partition, origin.Offset, plain, timed, record.LogAppendTime})
	return nil
}

// settle takes in the records of newcomers that turned out to be lanes.
func (s *followerSide) settle() {
	for id, each := range s.newcomers {
		if !s.lanes[id] {
			continue
		}
		for _, one := range each.records {
			s.accumulate(one)
		}
		delete(s.newcomers, id)
	}
}

// refuse calls every newcomer that is left foreign, or a straggler.
func (s *followerSide) refuse() {
	for id, each := range s.newcomers {
		for _, one := range each.records {
			if s.reports(id) {
				s.late.add(Straggler{Partition: s.partition, Offset: one.at, TimestampMs: one.timestampMs, ProducerID: id, Provenance: true})
				continue
			}
			s.foundAtOnce.count(Foreign, each.sample)
		}
	}
	s.newcomers = nil
}

// introduce asks the mirror's positions, for a while, who the newcomers are.
func (j *judge) introduce(ctx context.Context) error {
	for deadline := time.Now().Add(introduction); j.someAreNew() && time.Now().Before(deadline); {
		if err := j.look(ctx); err != nil {
			return err
		}
		for _, side := range j.sides {
			side.settle()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(retryEvery):
		}
	}
	for _, side := range j.sides {
		side.refuse()
	}
	return nil
}

func (j *judge) someAreNew() bool {
	for _, side := range j.sides {
		if len(side.newcomers) > 0 {
			return true
		}
	}
	return false
}
