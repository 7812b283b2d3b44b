package scan

import (
	"errors"
	"fmt"

	"cutover/engine/provenance"
)

var errTorn = errors.New("a record ends before its fields do")

// Record is one record where it lies in the fetched bytes; it is valid only while it is being taken.
type Record struct {
	Offset        int64
	TimestampMs   int64
	ProducerID    int64
	LogAppendTime bool   // the broker set the timestamp
	Key           []byte // nil when the record has none
	Value         []byte // nil for a tombstone
	Body          []byte // key and value as encoded: lengths, presence and bytes
	Headers       []byte // all headers as encoded
	HeaderCount   int
}

// read decodes the first record of from and gives the rest.
func (r *Record) read(from []byte, in *batch) ([]byte, error) {
	length, rest, err := varint(from)
	if err != nil || length < 1 || length > int64(len(rest)) {
		return nil, errTorn
	}
	body, after := rest[1:length], rest[length:] // the first byte holds attributes, none of them in use
	deltaMs, body, err := varint(body)
	if err != nil {
		return nil, err
	}
	deltaOffset, body, err := varint(body)
	if err != nil {
		return nil, err
	}
	fields := body
	if r.Key, body, err = sized(body); err != nil {
		return nil, err
	}
	if r.Value, body, err = sized(body); err != nil {
		return nil, err
	}
	r.Body = fields[:len(fields)-len(body)]
	count, body, err := varint(body)
	if err != nil || count < 0 || count > int64(len(body)) {
		return nil, errTorn
	}
	r.HeaderCount, r.Headers = int(count), body
	r.Offset, r.ProducerID = in.first+deltaOffset, in.producer
	r.TimestampMs, r.LogAppendTime = in.baseMs+deltaMs, in.logAppendTime()
	if r.LogAppendTime {
		r.TimestampMs = in.maxMs
	}
	return after, nil
}

// Header is one header as encoded and its parts.
type Header struct {
	Raw   []byte
	Key   []byte
	Value []byte // nil when it has none
}

// Provenance reads the header as provenance; false when it is not of that form.
func (h Header) Provenance() (provenance.Origin, bool) {
	if len(h.Value) != provenance.Size || string(h.Key) != provenance.Key {
		return provenance.Origin{}, false
	}
	return provenance.Decode(h.Value)
}

// NextHeader cuts the first header off encoded ones.
func NextHeader(from []byte) (Header, []byte, error) {
	key, rest, err := sized(from)
	if err != nil {
		return Header{}, nil, err
	}
	value, rest, err := sized(rest)
	if err != nil {
		return Header{}, nil, err
	}
	return Header{Raw: from[:len(from)-len(rest)], Key: key, Value: value}, rest, nil
}

func sized(from []byte) ([]byte, []byte, error) {
	length, rest, err := varint(from)
	if err != nil || length > int64(len(rest)) {
		return nil, nil, errTorn
	}
	if length < 0 {
		return nil, rest, nil
	}
	return rest[:length:length], rest[length:], nil
}

// varint reads a zigzag-encoded number.
func varint(from []byte) (int64, []byte, error) {
	var word uint64
	for i, shift := 0, 0; i < len(from) && shift < 64; i, shift = i+1, shift+7 {
		b := from[i]
		word |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return int64(word>>1) ^ -int64(word&1), from[i+1:], nil
		}
	}
	return 0, nil, errTorn
}

// each hands every record of the batch that lies in the range to take.
func (b *batch) each(raw []byte, within Range, scratch *Record, take func(*Record) error) error {
	for i := range b.records {
		rest, err := scratch.read(raw, b)
		if err != nil {
			return fmt.Errorf("record %d of the batch at offset %d: %w", i, b.first, err)
		}
		raw = rest
		if scratch.Offset < within.From {
			continue
		}
		if scratch.Offset >= within.Until {
			return nil
		}
		if err := take(scratch); err != nil {
			return err
		}
	}
	return nil
}
