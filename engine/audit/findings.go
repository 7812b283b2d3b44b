package audit

import (
	"fmt"

	"cutover/engine/audit/scan"
	"cutover/engine/wire"
)

const shownBytes = 1 << 10

// findings counts violations by kind and keeps the first few of each.
type findings struct {
	counts  map[string]int64
	samples []Sample
	limit   int
}

func newFindings(limit int) *findings { return &findings{counts: map[string]int64{}, limit: limit} }

// wanted reports whether another sample of the kind would be kept, so that nobody makes one in vain.
func (f *findings) wanted(kind string) bool { return f.counts[kind] < int64(f.limit) }

func (f *findings) count(kind string, sample func() Sample) {
	if f.wanted(kind) {
		made := sample()
		made.Kind = kind
		f.samples = append(f.samples, made)
	}
	f.counts[kind]++
}

func (f *findings) merge(other *findings) {
	kept := map[string]int{}
	for _, each := range f.samples {
		kept[each.Kind]++
	}
	for _, each := range other.samples {
		if kept[each.Kind] < f.limit {
			kept[each.Kind]++
			f.samples = append(f.samples, each)
		}
	}
	for kind, count := range other.counts {
		f.counts[kind] += count
	}
}

// shower turns bytes of users into what may be told of them.
type shower struct {
	digest *digester
	data   bool
}

func (s *shower) show(bytes []byte) *Shown {
	if bytes == nil {
		return &Shown{Bytes: -1}
	}
	hash := s.digest.of(bytes, 1)
	shown := &Shown{Bytes: len(bytes), Fingerprint: fmt.Sprintf("%08x", uint32(hash.low))}
	if s.data {
		shown.Data = append([]byte{}, bytes[:min(len(bytes), shownBytes)]...)
	}
	return shown
}

func (s *shower) place(topic wire.Topic, partition int32, record *scan.Record) *Place {
	return &Place{
		Topic: topic.Name, Partition: partition, Offset: record.Offset, TimestampMs: record.TimestampMs,
		Key: s.show(record.Key), Value: s.show(record.Value),
	}
}
