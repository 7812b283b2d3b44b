package dualaudit

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"cutover/engine/audit"
	"cutover/engine/audit/scan"
	"cutover/engine/dualaudit/match"
)

const (
	shownBytes    = 1 << 10
	sampleReading = 5 * time.Second
)

// kept is a record that was read again to be shown.
type kept struct {
	key, value, headers []byte
	stamp               string
	timeMs              int64
}

type place struct {
	side      match.Side
	partition int32
	offset    int64
}

// keeper keeps one record.
type keeper struct {
	at   place
	into map[place]kept
}

// Take copies it.
func (k *keeper) Take(record *scan.Record) error {
	stamp, err := stampOf(record)
	k.into[k.at] = kept{
		key: bytes.Clone(record.Key), value: bytes.Clone(record.Value), headers: bytes.Clone(record.Headers),
		stamp: string(stamp), timeMs: record.TimestampMs,
	}
	return err
}

// samples reads the records of the findings again, where they still are, and puts into words what was found.
func (j *judge) samples(ctx context.Context) []Sample {
	found := j.findings.Samples()
	var wanted []place
	for _, each := range found {
		for _, side := range []match.Side{match.Source, match.Target} {
			if entry := each.On(side); entry != nil {
				wanted = append(wanted, place{side, entry.Partition, entry.Offset})
			}
		}
	}
	records := j.again(ctx, wanted)
	told := []Sample{}
	for _, each := range found {
		told = append(told, j.sample(each, records))
	}
	return told
}

// again reads single records: of each partition one at a time.
func (j *judge) again(ctx context.Context, wanted []place) map[place]kept {
	ctx, cancel := context.WithTimeout(ctx, sampleReading)
	defer cancel()
	found := j.shown
	for len(wanted) > 0 {
		turn := [2]map[int32]scan.Range{{}, {}}
		asked := map[place]place{}
		var rest []place
		for _, each := range wanted {
			slot := place{side: each.side, partition: each.partition}
			if _, taken := asked[slot]; taken {
				rest = append(rest, each)
			} else if _, known := found[each]; !known {
				asked[slot] = each
				turn[each.side][each.partition] = scan.Range{From: each.offset, Until: each.offset + 1}
			}
		}
		for side, topic := range j.topics {
			sinks := map[int32]*keeper{}
			for p := range turn[side] {
				sinks[p] = &keeper{at: asked[place{side: match.Side(side), partition: p}], into: map[place]kept{}}
			}
			// What cannot be read again is named by its place alone.
			_ = topic.Read(ctx, turn[side], func(p int32) scan.Sink { return sinks[p] })
			for _, each := range sinks {
				for at, record := range each.into {
					found[at] = record
				}
			}
		}
		wanted = rest
	}
	return found
}

func (j *judge) sample(of *match.Finding, records map[place]kept) Sample {
	made := Sample{Kind: of.Kind, ProducerID: -1, Why: j.why(of)}
	both := [2]*kept{}
	for _, side := range []match.Side{match.Source, match.Target} {
		entry := of.On(side)
		if entry == nil {
			continue
		}
		shown := &audit.Place{Topic: j.topics[side].Topic.Name, Partition: entry.Partition, Offset: entry.Offset, TimestampMs: entry.TimeMs}
		if record, known := records[place{side, entry.Partition, entry.Offset}]; known {
			shown.Key, shown.Value = j.show(record.key), j.show(record.value)
			made.Stamp = record.stamp
			both[side] = &record
		}
		if made.ProducerID < 0 {
			made.ProducerID = entry.Producer
		}
		if side == match.Source {
			made.Source = shown
		} else {
			made.Target = shown
		}
	}
	if of.Kind == match.Changed && both[0] != nil && both[1] != nil {
		made.Fields = differences(both[0], both[1])
	}
	if of.Kind == match.OffHash {
		made.Expected = &of.Expected
	}
	return made
}

func differences(one, other *kept) []string {
	var fields []string
	for _, each := range []struct {
		name string
		same bool
	}{
		{"key", bytes.Equal(one.key, other.key)},
		{"value", bytes.Equal(one.value, other.value) && (one.value == nil) == (other.value == nil)},
		{"headers", bytes.Equal(one.headers, other.headers)},
		{"timestamp", one.stamp == "" || one.timeMs == other.timeMs},
	} {
		if !each.same {
			fields = append(fields, each.name)
		}
	}
	return fields
}

func (j *judge) why(of *match.Finding) string {
	held, lacking := j.topics[match.Source].Topic.Name, j.topics[match.Target].Topic.Name
	if of.Source == nil {
		held, lacking = lacking, held
	}
	switch of.Kind {
	case match.OneSideOnly:
		return fmt.Sprintf("%s has no such record in its place in the order of the key", lacking)
	case match.Duplicate:
		if of.Earlier == nil {
			return fmt.Sprintf("%s has an equal record before it, and that one has the counterpart on %s", held, lacking)
		}
		return fmt.Sprintf("%s has an equal record at partition %d, offset %d, and that one has the counterpart on %s",
			held, of.Earlier.Partition, of.Earlier.Offset, lacking)
	case match.Reordered:
		return "both sides have it, at different places in the order of the key, or one much later than the other"
	case match.Changed:
		return "the records in this place of the key's order differ"
	case match.OffHash:
		return "its key belongs to another partition"
	}
	return "stamps are required and it carries none"
}

// show tells size and fingerprint of what belongs to users, the bytes only if asked for.
func (j *judge) show(of []byte) *audit.Shown {
	if of == nil {
		return &audit.Shown{Bytes: -1}
	}
	shown := &audit.Shown{Bytes: len(of), Fingerprint: fmt.Sprintf("%08x", uint32(j.digest.of(of, 1).Low))}
	if j.config.ShowData {
		shown.Data = bytes.Clone(of[:min(len(of), shownBytes)])
	}
	return shown
}
