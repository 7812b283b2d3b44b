package mirror

import (
	"bytes"
	"encoding/binary"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/provenance"
	"cutover/engine/transaction"
)

const batchBytes = 256 << 10 // of records before compression; a probe of the follower reads one batch

// batch collects records of one follower partition, encoded as the log will hold them.
type batch struct {
	transaction.Batch
	first provenance.Origin // of its first record
}

func (b *batch) reset(partition int32, codec int16) {
	if cap(b.Bytes) < transaction.BatchHeader {
		b.Bytes = make([]byte, transaction.BatchHeader, 4<<10)
	}
	b.Batch = transaction.Batch{Partition: partition, Bytes: b.Bytes[:transaction.BatchHeader], Codec: codec}
}

// fits reports whether a record of so many bytes, of this codec, may join without passing the limit.
func (b *batch) fits(size int, codec int16, limit int) bool {
	return b.Codec == codec && (b.Records == 0 || len(b.Bytes)+size <= limit)
}

// add encodes one record with its origin as the last header; foreign says how many older provenance headers it lost.
func (b *batch) add(record *kgo.Record, origin provenance.Origin) (foreign int64) {
	at := millis(record)
	if b.Records == 0 {
		b.BaseMs, b.MaxMs, b.first = at, at, origin
	}
	b.MaxMs = max(b.MaxMs, at)
	headers, headerBytes, foreign := 1, 1+len(provenance.Key)+1+provenance.Size, int64(0)
	for i := range record.Headers {
		if provenance.Is(record.Headers[i]) {
			foreign++
			continue
		}
		headers++
		headerBytes += sized(len(record.Headers[i].Key)) + nullable(record.Headers[i].Value)
	}
	delta, stamp := int64(b.Records), at-b.BaseMs
	length := 1 + varintSize(stamp) + varintSize(delta) + nullable(record.Key) + nullable(record.Value) + varintSize(int64(headers)) + headerBytes

	to := binary.AppendVarint(b.Bytes, int64(length))
	to = append(to, 0)
	to = binary.AppendVarint(to, stamp)
	to = binary.AppendVarint(to, delta)
	to = appendNullable(to, record.Key)
	to = appendNullable(to, record.Value)
	to = binary.AppendVarint(to, int64(headers))
	for i := range record.Headers {
		if foreign == 0 || !provenance.Is(record.Headers[i]) {
			to = binary.AppendVarint(to, int64(len(record.Headers[i].Key)))
			to = append(to, record.Headers[i].Key...)
			to = appendNullable(to, record.Headers[i].Value)
		}
	}
	to = binary.AppendVarint(to, int64(len(provenance.Key)))
	to = append(to, provenance.Key...)
	to = binary.AppendVarint(to, provenance.Size)
	b.Bytes = origin.Append(to)
	b.Records++
	return foreign
}

func appendNullable(to, field []byte) []byte {
	if field == nil {
		return binary.AppendVarint(to, -1)
	}
	return append(binary.AppendVarint(to, int64(len(field))), field...)
}

func nullable(field []byte) int {
	if field == nil {
		return 1
	}
	return sized(len(field))
}

// millis is a record's timestamp. franz-go multiplies it by 10^6 modulo 2^64, which ruins it before 1677 and after 2262
// (a producer that took microseconds for milliseconds is in the year 55,000). 10^6 is 2^6 times an odd number, so
// modulo 2^58 nothing is lost: exact to 4.5 million years either side of 1970.
func millis(record *kgo.Record) int64 {
	const inverse = 0x10fb65668c26139 // of 15625 modulo 2^58
	return int64(uint64(record.Timestamp.UnixNano())>>6*inverse<<6) >> 6
}

// sized is a length and what it counts.
func sized(length int) int { return varintSize(int64(length)) + length }

// varintSize of the zig-zag form.
func varintSize(value int64) int {
	unsigned := uint64(value<<1) ^ uint64(value>>63)
	size := 1
	for unsigned >= 0x80 {
		unsigned >>= 7
		size++
	}
	return size
}

// roughSize bounds what a record takes in a batch before its headers are looked at.
func roughSize(record *kgo.Record) int {
	size := len(record.Key) + len(record.Value) + 96
	for i := range record.Headers {
		size += len(record.Headers[i].Key) + len(record.Headers[i].Value) + 10
	}
	return size
}

var compressors sync.Map // codec number to kgo.Compressor

func compressor(codec int16) kgo.Compressor {
	if known, ok := compressors.Load(codec); ok {
		return known.(kgo.Compressor)
	}
	kinds := map[int16]kgo.CompressionCodec{1: kgo.GzipCompression(), 2: kgo.SnappyCompression(), 3: kgo.Lz4Compression(), 4: kgo.ZstdCompression()}
	made, err := kgo.DefaultCompressor(kinds[codec])
	if err != nil {
		panic(err) // the four codecs of Kafka are always known
	}
	known, _ := compressors.LoadOrStore(codec, made)
	return known.(kgo.Compressor)
}

// compress replaces the records by their compressed form, in the codec that the origin's batch had, unless that is larger.
func (b *batch) compress(scratch *bytes.Buffer) {
	if b.Codec == 0 {
		return
	}
	scratch.Reset()
	packed, codec := compressor(b.Codec).Compress(scratch, b.Bytes[transaction.BatchHeader:])
	if len(packed) >= len(b.Bytes)-transaction.BatchHeader {
		b.Codec = 0
		return
	}
	b.Codec = int16(codec)
	b.Bytes = append(b.Bytes[:transaction.BatchHeader], packed...)
}
