package translate

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/provenance"
)

const (
	batchHeaderBytes = 61
	lengthCountsFrom = 12
	checksumFrom     = 21
	codecMask        = 0x07
	transactionalBit = 0x10
	controlBit       = 0x20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// stamp is how a mirrored record's last header begins as encoded: length and name of the key, length of the value.
var stamp = append(append([]byte{2 * byte(len(provenance.Key))}, provenance.Key...), 2*provenance.Size)

// header is what a record batch (format 2) says of itself.
type header struct {
	first, last int64
	attributes  uint16
	producer    int64
	records     int32
	payload     []byte
}

// cutBatch takes the first whole batch off fetched bytes; a torn one at the end is left.
func cutBatch(from []byte) (header, []byte, bool, error) {
	if len(from) < batchHeaderBytes {
		return header{}, nil, false, nil
	}
	first := int64(binary.BigEndian.Uint64(from))
	if from[16] != 2 {
		return header{}, nil, false, fmt.Errorf("the batch at offset %d is in message format %d, not 2", first, from[16])
	}
	size := int(binary.BigEndian.Uint32(from[8:])) + lengthCountsFrom
	if size > len(from) {
		return header{}, nil, false, nil
	}
	if size < batchHeaderBytes || crc32.Checksum(from[checksumFrom:size], castagnoli) != binary.BigEndian.Uint32(from[17:]) {
		return header{}, nil, false, fmt.Errorf("the batch at offset %d is damaged", first)
	}
	return header{
		first: first, last: first + int64(binary.BigEndian.Uint32(from[23:])),
		attributes: binary.BigEndian.Uint16(from[21:]),
		producer:   int64(binary.BigEndian.Uint64(from[43:])),
		records:    int32(binary.BigEndian.Uint32(from[57:])),
		payload:    from[batchHeaderBytes:size],
	}, from[size:], true, nil
}

func (h *header) isControl() bool       { return h.attributes&controlBit != 0 }
func (h *header) isTransactional() bool { return h.attributes&transactionalBit != 0 }

// aborts tells which batches of a fetched stretch belong to aborted transactions.
type aborts struct {
	coming []kmsg.FetchResponseTopicPartitionAbortedTransaction // by first offset
	open   map[int64]bool
}

func newAborts(listed []kmsg.FetchResponseTopicPartitionAbortedTransaction) *aborts {
	coming := slices.Clone(listed)
	slices.SortFunc(coming, func(a, b kmsg.FetchResponseTopicPartitionAbortedTransaction) int {
		return int(min(max(a.FirstOffset-b.FirstOffset, -1), 1))
	})
	return &aborts{coming: coming, open: map[int64]bool{}}
}

// hide reports whether the batch is to be passed over: a marker, or written by a transaction that was aborted.
func (a *aborts) hide(h *header) bool {
	for len(a.coming) > 0 && a.coming[0].FirstOffset <= h.last {
		a.open[a.coming[0].ProducerID] = true
		a.coming = a.coming[1:]
	}
	if h.isControl() {
		delete(a.open, h.producer) // whatever it was, the marker ends the producer's transaction
		return true
	}
	return h.isTransactional() && a.open[h.producer]
}

// recordsIn hands out offset and encoded body of each record of a batch.
func recordsIn(h *header, with kgo.Decompressor, each func(offset int64, body []byte)) error {
	raw := h.payload
	if codec := h.attributes & codecMask; codec != 0 {
		opened, err := with.Decompress(raw, kgo.CompressionCodecType(codec))
		if err != nil {
			return fmt.Errorf("the batch at offset %d cannot be decompressed: %w", h.first, err)
		}
		raw = opened
	}
	for range h.records {
		length, n := binary.Varint(raw)
		if n <= 0 || length < 1 || length > int64(len(raw)-n) {
			return fmt.Errorf("the batch at offset %d ends within a record", h.first)
		}
		body := raw[n : n+int(length)]
		raw = raw[n+int(length):]
		_, afterStamp := binary.Varint(body[1:])
		if afterStamp <= 0 {
			return fmt.Errorf("the batch at offset %d holds a record without a timestamp", h.first)
		}
		delta, read := binary.Varint(body[1+afterStamp:])
		if read <= 0 {
			return fmt.Errorf("the batch at offset %d holds a record without an offset", h.first)
		}
		each(h.first+delta, body)
	}
	return nil
}

// stamped reads provenance from the end of a record's body: a lane writes it as the last header of each of its records.
func stamped(body []byte) (provenance.Origin, bool) {
	at := len(body) - provenance.Size
	if at < len(stamp) || !bytes.Equal(body[at-len(stamp):at], stamp) {
		return provenance.Origin{}, false
	}
	return provenance.Decode(body[at:])
}
