package translate

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/provenance"
	"cutover/engine/wire"
)

const lane, stranger = 7, 8

var run = [8]byte{1, 2, 3}

// written makes one batch as a broker holds it: records at these deltas, from this producer.
func written(first int64, producer int64, attributes uint16, deltas []int32, body func(delta int32) []kmsg.Header) []byte {
	var records []byte
	for _, delta := range deltas {
		record := kmsg.Record{OffsetDelta: delta, TimestampDelta64: 1 << 40, Key: []byte("key"), Value: make([]byte, 300), Headers: body(delta)}
		encoded := record.AppendTo(nil)[1:]
		records = append(binary.AppendVarint(records, int64(len(encoded))), encoded...)
	}
	last := int32(0)
	if len(deltas) > 0 {
		last = deltas[len(deltas)-1]
	}
	if codec := attributes & codecMask; codec != 0 {
		records = compressed(records, codec)
	}
	batch := make([]byte, batchHeaderBytes, batchHeaderBytes+len(records))
	binary.BigEndian.PutUint64(batch, uint64(first))
	batch[16] = 2
	binary.BigEndian.PutUint16(batch[21:], attributes)
	binary.BigEndian.PutUint32(batch[23:], uint32(last))
	binary.BigEndian.PutUint64(batch[43:], uint64(producer))
	binary.BigEndian.PutUint32(batch[57:], uint32(len(deltas)))
	batch = append(batch, records...)
	binary.BigEndian.PutUint32(batch[8:], uint32(len(batch)-lengthCountsFrom))
	binary.BigEndian.PutUint32(batch[17:], crc32.Checksum(batch[checksumFrom:], castagnoli))
	return batch
}

func compressed(records []byte, codec uint16) []byte {
	codecs := map[uint16]kgo.CompressionCodec{1: kgo.GzipCompression(), 2: kgo.SnappyCompression(), 3: kgo.Lz4Compression(), 4: kgo.ZstdCompression()}
	with, err := kgo.DefaultCompressor(codecs[codec])
	if err != nil {
		panic(err)
	}
	out, _ := with.Compress(&bytes.Buffer{}, records)
	return slices.Clone(out)
}

func from(partition int32, first int64) func(int32) []kmsg.Header {
	return func(delta int32) []kmsg.Header {
		origin := provenance.Origin{Run: run, Epoch: 5, Partition: partition, Offset: first + int64(delta)}
		return []kmsg.Header{{Key: "theirs", Value: []byte("x")}, {Key: provenance.Key, Value: origin.Append(nil)}}
	}
}

func decoded(t *testing.T, at int64, raw []byte, aborted ...kmsg.FetchResponseTopicPartitionAbortedTransaction) Piece {
	t.Helper()
	reader := NewMirrored(nil, wire.Topic{}, run, 5, map[int64]bool{lane: true}, &Stats{})
	one := &fetched{ask: ask{at: at, bytes: narrowBytes}, answer: &kmsg.FetchResponseTopicPartition{RecordBatches: raw, AbortedTransactions: aborted}}
	reader.decodeOne(one)
	if one.err != nil {
		t.Fatal(one.err)
	}
	return one.piece
}

func TestWhatALaneWroteIsSeenWhateverTheCodec(t *testing.T) {
	for codec := range uint16(5) {
		piece := decoded(t, 101, written(100, lane, transactionalBit|codec, []int32{0, 2, 3}, from(4, 900)))
		want := Piece{From: 100, Until: 104, Seen: []Seen{{100, 4, 900}, {102, 4, 902}, {103, 4, 903}}}
		if piece.From != want.From || piece.Until != want.Until || !slices.Equal(piece.Seen, want.Seen) {
			t.Errorf("codec %d: %v", codec, piece)
		}
	}
}

func TestWhatOthersWroteIsPassedOver(t *testing.T) {
	raw := written(0, stranger, transactionalBit, []int32{0, 1}, from(0, 50))                    // forged provenance
	raw = append(raw, written(2, lane, transactionalBit, []int32{0}, func(int32) []kmsg.Header { // no provenance last
		return append(from(0, 60)(0), kmsg.Header{Key: "later"})
	})...)
	raw = append(raw, written(3, lane, transactionalBit|controlBit, []int32{0}, from(0, 70))...)
	whole := len(raw)
	raw = append(raw, written(4, lane, transactionalBit, []int32{0}, from(0, 80))[:40]...) // cut off by the fetch
	piece := decoded(t, 0, raw)
	if len(piece.Seen) != 0 || piece.Until != 4 || whole == len(raw) {
		t.Fatalf("%v", piece)
	}
	other := provenance.Origin{Run: [8]byte{9}, Epoch: 5, Partition: 0, Offset: 1}
	piece = decoded(t, 0, written(0, lane, transactionalBit, []int32{0}, func(int32) []kmsg.Header {
		return []kmsg.Header{{Key: provenance.Key, Value: other.Append(nil)}}
	}))
	if len(piece.Seen) != 0 {
		t.Fatalf("a record of another run was taken for ours: %v", piece)
	}
}

func TestOnlyTheAbortedTransactionIsHidden(t *testing.T) {
	var raw []byte
	for first := int64(10); first < 14; first++ { // committed, marker, aborted, marker, and so on
		raw = append(raw, written(2*first, lane, transactionalBit, []int32{0}, from(1, first))...)
		raw = append(raw, written(2*first+1, lane, transactionalBit|controlBit, []int32{0}, from(1, 0))...)
	}
	piece := decoded(t, 20, raw, kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: lane, FirstOffset: 26},
		kmsg.FetchResponseTopicPartitionAbortedTransaction{ProducerID: lane, FirstOffset: 22})
	if want := []Seen{{20, 1, 10}, {24, 1, 12}}; !slices.Equal(piece.Seen, want) || piece.Until != 28 {
		t.Fatalf("%v", piece)
	}
}

func TestADamagedBatchIsAnError(t *testing.T) {
	raw := written(0, lane, transactionalBit, []int32{0}, from(0, 1))
	raw[len(raw)-1] ^= 1
	if _, _, _, err := cutBatch(raw); err == nil {
		t.Fatal("a changed byte went unnoticed")
	}
}
