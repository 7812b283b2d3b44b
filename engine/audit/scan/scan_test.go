package scan

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/provenance"
	"cutover/engine/wire"
)

type kept struct {
	offset, timestamp, producer int64
	key, value                  []byte
	headers                     []kgo.RecordHeader
}

type keeper struct{ records []kept }

func (k *keeper) Take(r *Record) error {
	one := kept{offset: r.Offset, timestamp: r.TimestampMs, producer: r.ProducerID, key: bytes.Clone(r.Key), value: bytes.Clone(r.Value)}
	rest := r.Headers
	for range r.HeaderCount {
		header, after, err := NextHeader(rest)
		if err != nil {
			return err
		}
		one.headers = append(one.headers, kgo.RecordHeader{Key: string(header.Key), Value: bytes.Clone(header.Value)})
		rest = after
	}
	k.records = append(k.records, one)
	return nil
}

// encode makes one batch of format 2 with records at the given offsets, by kmsg's own encoder.
func encode(t *testing.T, first int64, deltas []int32, attributes int16, producer int64, random *rand.Rand) []byte {
	t.Helper()
	var records []byte
	for _, delta := range deltas {
		one := kmsg.Record{TimestampDelta64: int64(random.IntN(5000)), OffsetDelta: delta, Key: some(random), Value: some(random)}
		for range random.IntN(4) {
			one.Headers = append(one.Headers, kmsg.Header{Key: strings.Repeat("h", random.IntN(3)), Value: some(random)})
		}
		body := one.AppendTo(nil)[1:] // AppendTo writes a length of zero first
		records = append(binary.AppendVarint(records, int64(len(body))), body...)
	}
	if codec := attributes & codecBits; codec != 0 {
		codecs := map[int16]kgo.CompressionCodec{1: kgo.GzipCompression(), 2: kgo.SnappyCompression(), 3: kgo.Lz4Compression(), 4: kgo.ZstdCompression()}
		compressor, err := kgo.DefaultCompressor(codecs[codec])
		if err != nil {
			t.Fatal(err)
		}
		records, _ = compressor.Compress(new(bytes.Buffer), records)
		records = bytes.Clone(records)
	}
	return seal(first, deltas, attributes, producer, records)
}

func seal(first int64, deltas []int32, attributes int16, producer int64, records []byte) []byte {
	made := kmsg.RecordBatch{
		FirstOffset: first, Length: int32(49 + len(records)), PartitionLeaderEpoch: 0, Magic: 2, Attributes: attributes,
		LastOffsetDelta: deltas[len(deltas)-1], FirstTimestamp: 1_000_000, MaxTimestamp: 1_009_999, ProducerID: producer,
		NumRecords: int32(len(deltas)), Records: records,
	}
	raw := made.AppendTo(nil)
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[crcFrom:], castagnoli))
	return raw
}

func some(random *rand.Rand) []byte {
	if random.IntN(4) == 0 {
		return nil
	}
	made := make([]byte, random.IntN(40))
	for i := range made {
		made[i] = byte(random.Uint32())
	}
	return made
}

func marker(first, producer int64, kind byte) []byte {
	body := kmsg.Record{Key: []byte{0, 0, 0, kind}, Value: []byte{0, 0, 0, 0, 0, 0}}
	raw := body.AppendTo(nil)[1:]
	return seal(first, []int32{0}, transactional|control, producer, append(binary.AppendVarint(nil, int64(len(raw))), raw...))
}

func reader() *Reader { return NewReader(nil, wire.Topic{Name: "t", Partitions: 1}) }

func TestRandomBatchesAreReadAsFranzGoReadsThem(t *testing.T) {
	random := rand.New(rand.NewPCG(9, 9))
	for round := range 300 {
		var raw []byte
		at := int64(random.IntN(100))
		begin := at
		for range 1 + random.IntN(6) {
			deltas := []int32{int32(random.IntN(2))}
			for range random.IntN(20) {
				deltas = append(deltas, deltas[len(deltas)-1]+1+int32(random.IntN(3)))
			}
			attributes := int16(random.IntN(5))
			if random.IntN(5) == 0 {
				attributes |= logAppendBit
			}
			raw = append(raw, encode(t, at, deltas, attributes, int64(random.IntN(5)), random)...)
			at += int64(deltas[len(deltas)-1]) + 1 + int64(random.IntN(3))
		}
		torn := raw[:len(raw)-random.IntN(30)]
		answer := kmsg.NewFetchResponseTopicPartition()
		answer.RecordBatches = torn
		from := begin + int64(random.IntN(int(at-begin)+1))
		want, next := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Offset: from, IsolationLevel: kgo.ReadCommitted()}, &answer, kgo.DefaultDecompressor(), nil)
		to := &keeper{}
		progress := &progress{within: Range{from, 1 << 40}, at: from, sink: to}
		cut, err := progress.cut(&answer)
		if err != nil {
			t.Fatal(err)
		}
		if err := reader().decode(&cut); err != nil {
			t.Fatal(err)
		}
		if progress.at != max(next, from) && len(want.Records) > 0 {
			t.Fatalf("round %d: the next offset is %d, franz-go says %d", round, progress.at, next)
		}
		same(t, round, to.records, want.Records)
	}
}

func same(t *testing.T, round int, got []kept, want []*kgo.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("round %d: %d records, franz-go gives %d", round, len(got), len(want))
	}
	for i, one := range got {
		other := want[i]
		if one.offset != other.Offset || one.timestamp != other.Timestamp.UnixMilli() || one.producer != other.ProducerID ||
			!bytes.Equal(one.key, other.Key) || (one.key == nil) != (other.Key == nil) ||
			!bytes.Equal(one.value, other.Value) || (one.value == nil) != (other.Value == nil) || len(one.headers) != len(other.Headers) {
			t.Fatalf("round %d, record %d: %+v, franz-go gives %+v", round, i, one, other)
		}
		for j, header := range one.headers {
			if header.Key != other.Headers[j].Key || !bytes.Equal(header.Value, other.Headers[j].Value) || (header.Value == nil) != (other.Headers[j].Value == nil) {
				t.Fatalf("round %d, record %d: header %+v, franz-go gives %+v", round, i, header, other.Headers[j])
			}
		}
	}
}

func TestAbortedTransactionsAreSkippedAndLaterOnesOfTheSameProducerAreNot(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var raw []byte
	raw = append(raw, encode(t, 0, []int32{0, 1}, transactional, 7, random)...) // committed
	raw = append(raw, marker(2, 7, 1)...)
	raw = append(raw, encode(t, 3, []int32{0, 1}, transactional, 7, random)...) // aborted
	raw = append(raw, encode(t, 5, []int32{0}, 0, 7, random)...)                // not transactional
	raw = append(raw, encode(t, 6, []int32{0}, transactional, 8, random)...)    // another producer
	raw = append(raw, marker(7, 7, abortMarker)...)
	raw = append(raw, encode(t, 8, []int32{0}, transactional, 7, random)...) // committed
	raw = append(raw, marker(9, 7, 1)...)
	answer := kmsg.NewFetchResponseTopicPartition()
	answer.RecordBatches = raw
	aborts := kmsg.NewFetchResponseTopicPartitionAbortedTransaction()
	aborts.ProducerID, aborts.FirstOffset = 7, 3
	answer.AbortedTransactions = append(answer.AbortedTransactions, aborts)
	to := &keeper{}
	at := &progress{within: Range{0, 100}, sink: to}
	cut, err := at.cut(&answer)
	if err != nil {
		t.Fatal(err)
	}
	if err := reader().decode(&cut); err != nil {
		t.Fatal(err)
	}
	var offsets []int64
	for _, one := range to.records {
		offsets = append(offsets, one.offset)
	}
	if !slices.Equal(offsets, []int64{0, 1, 5, 6, 8}) || at.at != 10 {
		t.Fatalf("offsets %v up to %d", offsets, at.at)
	}
}

func TestARangeEndsInTheMiddleOfABatchAndPastAHole(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	raw := append(encode(t, 0, []int32{0, 1, 2, 3}, 0, 1, random), encode(t, 50, []int32{0}, 0, 1, random)...)
	for until, want := range map[int64][2]int64{2: {2, 2}, 4: {4, 4}, 20: {4, 20}, 51: {5, 51}} {
		answer := kmsg.NewFetchResponseTopicPartition()
		answer.RecordBatches = raw
		to := &keeper{}
		at := &progress{within: Range{0, until}, sink: to}
		cut, err := at.cut(&answer)
		if err != nil {
			t.Fatal(err)
		}
		if err := reader().decode(&cut); err != nil {
			t.Fatal(err)
		}
		if got := [2]int64{int64(len(to.records)), at.at}; got != want {
			t.Errorf("until %d: %v, want %v", until, got, want)
		}
	}
}

func TestAChangedByteInABatchIsAnError(t *testing.T) {
	raw := encode(t, 0, []int32{0, 1, 2}, 0, 1, rand.New(rand.NewPCG(5, 6)))
	for i := crcFrom; i < len(raw); i++ {
		spoilt := bytes.Clone(raw)
		spoilt[i] ^= 4
		answer := kmsg.NewFetchResponseTopicPartition()
		answer.RecordBatches = spoilt
		at := &progress{within: Range{0, 10}, sink: &keeper{}}
		cut, err := at.cut(&answer)
		if err == nil {
			err = reader().decode(&cut)
		}
		if err == nil && at.at != 0 {
			t.Fatalf("byte %d was changed and nobody noticed", i)
		}
	}
}

func TestOldMessageFormatsAreNamed(t *testing.T) {
	raw := encode(t, 0, []int32{0}, 0, 1, rand.New(rand.NewPCG(7, 8)))
	raw[magicAt] = 1
	if _, _, _, err := nextBatch(raw); err == nil || !strings.Contains(err.Error(), "message format 1") {
		t.Fatal(err)
	}
}

func TestDecodingAllocatesNothingPerRecord(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	deltas := make([]int32, 500)
	for i := range deltas {
		deltas[i] = int32(i)
	}
	raw := encode(t, 0, deltas, 0, 1, random)
	cut, _, _, err := nextBatch(raw)
	if err != nil {
		t.Fatal(err)
	}
	var scratch Record
	count := 0
	take := func(r *Record) error { count += len(r.Key); return nil }
	allocations := testing.AllocsPerRun(20, func() {
		if err := cut.each(cut.payload, Range{0, 1000}, &scratch, take); err != nil {
			t.Fatal(err)
		}
	})
	if allocations > 0 {
		t.Errorf("%v allocations for %d records", allocations, len(deltas))
	}
}

func TestProvenanceIsReadFromAHeader(t *testing.T) {
	origin := provenance.Origin{Run: [8]byte{1, 2}, Epoch: 3, Partition: 4, Offset: 5}
	header := Header{Key: []byte(provenance.Key), Value: origin.Append(nil)}
	if got, is := header.Provenance(); !is || got != origin {
		t.Fatalf("%+v %v", got, is)
	}
	header.Value = header.Value[:24]
	if _, is := header.Provenance(); is {
		t.Fatal("24 bytes were taken for provenance")
	}
}
