package scan

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	batchHeader   = 61
	beforeLength  = 12 // the batch's length counts from here
	magicAt       = 16
	crcAt         = 17
	crcFrom       = 21
	codecBits     = 0x07
	logAppendBit  = 0x08
	transactional = 0x10
	control       = 0x20
	abortMarker   = 0
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// batch is the header of one record batch (format 2) and its records, still compressed.
type batch struct {
	first      int64
	last       int64
	attributes int16
	baseMs     int64
	maxMs      int64
	producer   int64
	records    int32
	payload    []byte
	checked    []byte // what the checksum covers
	crc        uint32
}

// nextBatch cuts the first batch off the bytes of a fetch; false when only a torn one is left.
func nextBatch(from []byte) (batch, []byte, bool, error) {
	if len(from) < batchHeader {
		return batch{}, nil, false, nil
	}
	length := int(int32(binary.BigEndian.Uint32(from[8:]))) + beforeLength
	if from[magicAt] != 2 {
		return batch{}, nil, false, fmt.Errorf("records at offset %d are in message format %d; only format 2 (Kafka 0.11) is read",
			binary.BigEndian.Uint64(from), from[magicAt])
	}
	if length < batchHeader {
		return batch{}, nil, false, fmt.Errorf("a batch at offset %d claims %d bytes", binary.BigEndian.Uint64(from), length)
	}
	if len(from) < length {
		return batch{}, nil, false, nil
	}
	head := from[:length]
	cut := batch{
		first:      int64(binary.BigEndian.Uint64(head)),
		crc:        binary.BigEndian.Uint32(head[crcAt:]),
		attributes: int16(binary.BigEndian.Uint16(head[21:])),
		baseMs:     int64(binary.BigEndian.Uint64(head[27:])),
		maxMs:      int64(binary.BigEndian.Uint64(head[35:])),
		producer:   int64(binary.BigEndian.Uint64(head[43:])),
		records:    int32(binary.BigEndian.Uint32(head[57:])),
		payload:    head[batchHeader:],
		checked:    head[crcFrom:],
	}
	cut.last = cut.first + int64(int32(binary.BigEndian.Uint32(head[23:])))
	return cut, from[length:], true, nil
}

func (b *batch) isControl() bool       { return b.attributes&control != 0 }
func (b *batch) isTransactional() bool { return b.attributes&transactional != 0 }
func (b *batch) logAppendTime() bool   { return b.attributes&logAppendBit != 0 }

func (b *batch) verify() error {
	if crc32.Checksum(b.checked, castagnoli) != b.crc {
		return fmt.Errorf("the checksum of the batch at offset %d is wrong", b.first)
	}
	return nil
}

// open gives the records uncompressed.
func (b *batch) open(with kgo.Decompressor) ([]byte, error) {
	codec := kgo.CompressionCodecType(b.attributes & codecBits)
	if codec == 0 {
		return b.payload, nil
	}
	raw, err := with.Decompress(b.payload, codec)
	if err != nil {
		return nil, fmt.Errorf("the batch at offset %d cannot be decompressed: %w", b.first, err)
	}
	return raw, nil
}

// isAbort reports whether a control batch ends its producer's transaction as aborted.
func (b *batch) isAbort() (bool, error) {
	record := Record{}
	if _, err := record.read(b.payload, b); err != nil {
		return false, fmt.Errorf("the control batch at offset %d cannot be read: %w", b.first, err)
	}
	if len(record.Key) < 4 {
		return false, fmt.Errorf("the control batch at offset %d has a key of %d bytes", b.first, len(record.Key))
	}
	return binary.BigEndian.Uint16(record.Key[2:]) == abortMarker, nil
}
