package dualaudit

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"time"

	"github.com/zeebo/xxh3"

	"cutover/engine/audit/scan"
	"cutover/engine/dualaudit/match"
)

const stampHeader = "cutover.stamp"

// digester hashes under a key that lives as long as the process: records can be prepared for no digest.
type digester struct{ seed [4]uint64 }

func newDigester() digester {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	var made digester
	for i := range made.seed {
		made.seed[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return made
}

func (d *digester) of(bytes []byte, which int) match.Number {
	sum := xxh3.Hash128Seed(bytes, d.seed[which])
	return match.Number{High: sum.Hi, Low: sum.Lo}
}

// content digests key, value and all headers in order, less the timestamp.
func (d *digester) content(record *scan.Record) match.Number {
	var block [36]byte
	body := d.of(record.Body, 0)
	binary.LittleEndian.PutUint64(block[0:], body.High)
	binary.LittleEndian.PutUint64(block[8:], body.Low)
	if record.HeaderCount > 0 {
		headers := d.of(record.Headers, 1)
		binary.LittleEndian.PutUint64(block[16:], headers.High)
		binary.LittleEndian.PutUint64(block[24:], headers.Low)
	}
	binary.LittleEndian.PutUint32(block[32:], uint32(record.HeaderCount))
	return d.of(block[:], 2)
}

// keyed gives the record as an entry of its key's sequence; without a key that decides, it has a sequence of its own.
func (d *digester) keyed(record *scan.Record, partition int32, decides bool) (match.Keyed, error) {
	stamp, err := stampOf(record)
	if err != nil {
		return match.Keyed{}, err
	}
	made := match.Keyed{Entry: match.Entry{
		Digest: d.content(record), Offset: record.Offset, TimeMs: record.TimestampMs, Producer: record.ProducerID, Partition: partition,
	}}
	if record.LogAppendTime {
		made.Entry.Flags = match.Untimed
	}
	whole := match.Number{}
	if stamp != nil {
		whole = d.of(stamp, 3)
		made.Entry.Stamp = max(whole.Low, 1)
	}
	switch {
	case decides:
		made.Key = d.of(record.Key, 3)
	case stamp != nil:
		made.Key = match.Number{High: ^whole.High, Low: whole.Low}
	default:
		made.Key = match.Number{High: ^made.Entry.Digest.High, Low: made.Entry.Digest.Low}
	}
	return made, nil
}

// stampOf gives the last stamp among the headers; nil: none that is of its form.
func stampOf(record *scan.Record) ([]byte, error) {
	var found []byte
	for rest, i := record.Headers, 0; i < record.HeaderCount; i++ {
		header, after, err := scan.NextHeader(rest)
		if err != nil {
			return nil, err
		}
		if string(header.Key) == stampHeader {
			found = header.Value
		}
		rest = after
	}
	if !isStamp(found) {
		return nil, nil
	}
	return found, nil
}

// isStamp knows the form INSTANCE:SESSION:EPOCH:SEQUENCE.
func isStamp(value []byte) bool {
	if bytes.Count(value, []byte{':'}) != 3 {
		return false
	}
	last := bytes.LastIndexByte(value, ':')
	before := bytes.LastIndexByte(value[:last], ':')
	return decimal(value[before+1:last]) && decimal(value[last+1:])
}

func decimal(word []byte) bool {
	for _, each := range word {
		if each < '0' || each > '9' {
			return false
		}
	}
	return len(word) > 0
}

func nowMs() int64 { return time.Now().UnixMilli() }
