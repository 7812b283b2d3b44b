package mirror

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/provenance"
	"cutover/engine/transaction"
)

var run = [8]byte{1, 2, 3, 4, 5, 6, 7, 8}

func origin(partition int32, offset int64) provenance.Origin {
	return provenance.Origin{Run: run, Epoch: 3, Partition: partition, Offset: offset}
}

func header(key string, value []byte) kgo.RecordHeader {
	return kgo.RecordHeader{Key: key, Value: value}
}

func at(ms int64) time.Time { return time.Unix(0, ms*1e6) } // as franz-go reads it

// decode seals a batch, checks what a broker would check and reads it with franz-go.
func decode(t *testing.T, one *batch) []*kgo.Record {
	t.Helper()
	one.Seal(77, 5, 9)
	raw := one.Bytes
	var head kmsg.RecordBatch
	if err := head.ReadFrom(raw); err != nil {
		t.Fatalf("the batch cannot be read: %v", err)
	}
	if want := int32(crc32.Checksum(raw[21:], crc32.MakeTable(crc32.Castagnoli))); head.CRC != want {
		t.Fatalf("checksum %d, want %d", head.CRC, want)
	}
	if head.ProducerID != 77 || head.ProducerEpoch != 5 || head.FirstSequence != 9 || head.Attributes&0x10 == 0 {
		t.Fatalf("not a transactional batch of its producer: %+v", head)
	}
	if head.NumRecords != one.Records || head.LastOffsetDelta != one.Records-1 || int(head.Length) != len(raw)-12 {
		t.Fatalf("counts differ: %d records, last delta %d, length %d of %d", head.NumRecords, head.LastOffsetDelta, head.Length, len(raw))
	}
	part := kmsg.NewFetchResponseTopicPartition()
	part.RecordBatches, part.HighWatermark, part.LastStableOffset = raw, 1<<40, 1<<40
	read, _ := kgo.ProcessFetchPartition(kgo.ProcessFetchPartitionOpts{Topic: "t"}, &part, kgo.DefaultDecompressor(), nil)
	if read.Err != nil {
		t.Fatalf("the records cannot be read: %v", read.Err)
	}
	return read.Records
}

func made(codec int16, records ...*kgo.Record) *batch {
	one := &batch{}
	one.reset(4, codec)
	for i, record := range records {
		one.add(record, origin(2, int64(100+i)))
	}
	return one
}

// same compares what a mirror must not change, and that provenance is the last header and the only one.
func same(t *testing.T, got, sent *kgo.Record, from provenance.Origin) {
	t.Helper()
	if !reflect.DeepEqual(got.Key, sent.Key) || !reflect.DeepEqual(got.Value, sent.Value) {
		t.Errorf("key or value changed: %q %q, sent %q %q", got.Key, got.Value, sent.Key, sent.Value)
	}
	if millis(got) != millis(sent) {
		t.Errorf("timestamp %d, sent %d", millis(got), millis(sent))
	}
	var want []kgo.RecordHeader
	for _, one := range sent.Headers {
		if !provenance.Is(one) {
			want = append(want, one)
		}
	}
	last := len(got.Headers) - 1
	if last < 0 || !provenance.Is(got.Headers[last]) {
		t.Fatalf("provenance is not the last header: %v", got.Headers)
	}
	if found, _ := provenance.Of(got); found != from {
		t.Errorf("provenance %v, want %v", found, from)
	}
	if kept := got.Headers[:last]; len(kept) != len(want) || len(want) > 0 && !reflect.DeepEqual(kept, want) {
		t.Errorf("headers %v, sent %v", kept, want)
	}
}

func TestRecordsAreReadBackAsTheyWere(t *testing.T) {
	earlier := provenance.Origin{Run: [8]byte{9}, Offset: 1}
	records := []*kgo.Record{
		{Key: []byte("k"), Value: []byte("v"), Timestamp: at(1700000000000)},
		{Key: nil, Value: []byte("no key"), Timestamp: at(1700000000500)},
		{Key: []byte{}, Value: []byte("empty key"), Timestamp: at(1600000000000)},
		{Key: []byte("tombstone"), Value: nil, Timestamp: at(0)},
		{Key: []byte("empty"), Value: []byte{}, Timestamp: at(-1)},
		{Key: []byte("long ago"), Value: []byte("x"), Timestamp: at(-86400000)},
		{Key: []byte("h"), Value: []byte("x"), Timestamp: at(5), Headers: []kgo.RecordHeader{
			header("a", []byte("1")), header("b", nil), header("a", []byte{}), header("a", []byte("1")), header("", []byte("x")),
			header("_cutover", []byte("not provenance: too short")[:10])}},
		{Key: []byte("again"), Value: []byte("x"), Timestamp: at(6), Headers: []kgo.RecordHeader{
			header("first", nil), header(provenance.Key, earlier.Append(nil)), header("second", []byte("2")), header(provenance.Key, earlier.Append(nil))}},
		{Key: bytes.Repeat([]byte("k"), 300), Value: bytes.Repeat([]byte("v"), 70000), Timestamp: at(7)},
	}
	one := &batch{}
	one.reset(4, 0)
	foreign := int64(0)
	for i, record := range records {
		foreign += one.add(record, origin(2, int64(100+i)))
	}
	if foreign != 2 {
		t.Errorf("%d earlier provenance headers counted, want 2", foreign)
	}
	read := decode(t, one)
	if len(read) != len(records) {
		t.Fatalf("%d records read, want %d", len(read), len(records))
	}
	for i := range records {
		same(t, read[i], records[i], origin(2, int64(100+i)))
	}
	if one.MaxMs != 1700000000500 || one.BaseMs != 1700000000000 {
		t.Errorf("times of the batch: base %d, max %d", one.BaseMs, one.MaxMs)
	}
}

func TestEveryCodecIsReadBack(t *testing.T) {
	var records []*kgo.Record
	for i := range 500 {
		records = append(records, &kgo.Record{Key: fmt.Appendf(nil, "key-%d", i), Value: bytes.Repeat([]byte("value "), 20), Timestamp: at(int64(i))})
	}
	for codec := int16(0); codec <= 4; codec++ {
		one := made(codec, records...)
		plain := len(one.Bytes)
		one.compress(&bytes.Buffer{})
		if one.Codec != codec || codec > 0 && len(one.Bytes) > plain/2 {
			t.Errorf("codec %d became %d, %d bytes became %d", codec, one.Codec, plain, len(one.Bytes))
		}
		for i, read := range decode(t, one) {
			same(t, read, records[i], origin(2, int64(100+i)))
			if int16(read.Attrs.CompressionType()) != codec {
				t.Fatalf("codec %d was read as %d", codec, read.Attrs.CompressionType())
			}
		}
	}
}

func TestWhatCompressionWouldEnlargeStaysPlain(t *testing.T) {
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for codec := int16(1); codec <= 4; codec++ {
		record := &kgo.Record{Key: []byte("k"), Value: noise, Timestamp: at(1)}
		one := made(codec, record)
		plain := len(one.Bytes)
		one.compress(&bytes.Buffer{})
		if len(one.Bytes) > plain {
			t.Errorf("codec %d made %d bytes of %d", codec, len(one.Bytes), plain)
		}
		same(t, decode(t, one)[0], record, origin(2, 100))
	}
}

func TestABufferIsUsedAgainWithoutTracesOfTheFormerBatch(t *testing.T) {
	one := made(3, &kgo.Record{Key: []byte("old"), Value: bytes.Repeat([]byte("o"), 9000), Timestamp: at(99)})
	one.compress(&bytes.Buffer{})
	one.reset(8, 0)
	record := &kgo.Record{Key: []byte("new"), Value: []byte("n"), Timestamp: at(3)}
	one.add(record, origin(7, 1))
	if read := decode(t, one); len(read) != 1 || one.Partition != 8 || one.MaxMs != 3 {
		t.Fatalf("%d records, partition %d, max %d", len(read), one.Partition, one.MaxMs)
	} else {
		same(t, read[0], record, origin(7, 1))
	}
}

func TestRoughSizeIsNeverBelowTheRealOne(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		record := randomRecord(random)
		one := made(0, record)
		if real := len(one.Bytes) - transaction.BatchHeader; real > roughSize(record) {
			t.Fatalf("%d bytes, estimated %d: %+v", real, roughSize(record), record)
		}
	}
}

func TestVarintSizesAreThoseOfTheEncoder(t *testing.T) {
	for _, value := range []int64{0, -1, 1, 63, 64, -64, -65, 8191, 8192, 1 << 20, -(1 << 20), 1 << 31, math.MaxInt64, math.MinInt64} {
		if got, want := varintSize(value), len(binary.AppendVarint(nil, value)); got != want {
			t.Errorf("varintSize(%d) = %d, want %d", value, got, want)
		}
	}
}

func randomBytes(random *rand.Rand, most int) []byte {
	size := random.IntN(most+2) - 1
	if size < 0 {
		return nil
	}
	some := make([]byte, size)
	for i := range some {
		some[i] = byte(random.Uint32() % 7)
	}
	return some
}

func randomRecord(random *rand.Rand) *kgo.Record {
	record := &kgo.Record{Key: randomBytes(random, 40), Value: randomBytes(random, 400), Timestamp: at(random.Int64N(1<<58) - 1<<57)}
	for range random.IntN(5) {
		one := header(string(randomBytes(random, 20)), randomBytes(random, 30))
		if random.IntN(4) == 0 {
			one = header(provenance.Key, origin(random.Int32(), random.Int64()).Append(nil))
		}
		record.Headers = append(record.Headers, one)
	}
	return record
}

func TestRandomRecordsAreReadBackInEveryCodec(t *testing.T) {
	for seed := range uint64(200) {
		random := rand.New(rand.NewPCG(seed, 7))
		var records []*kgo.Record
		for range 1 + random.IntN(60) {
			records = append(records, randomRecord(random))
		}
		one := made(int16(seed%5), records...)
		one.compress(&bytes.Buffer{})
		read := decode(t, one)
		if len(read) != len(records) {
			t.Fatalf("seed %d: %d records of %d", seed, len(read), len(records))
		}
		for i := range records {
			same(t, read[i], records[i], origin(2, int64(100+i)))
		}
	}
}

func FuzzOneRecordIsReadBack(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), "header", []byte("x"), int64(1), uint8(0))
	f.Add([]byte{}, []byte(nil), "", []byte(nil), int64(-1), uint8(4))
	f.Fuzz(func(t *testing.T, key, value []byte, name string, content []byte, ms int64, codec uint8) {
		ms %= 1 << 57
		record := &kgo.Record{Key: key, Value: value, Timestamp: at(ms), Headers: []kgo.RecordHeader{header(name, content), header(name, nil)}}
		one := made(int16(codec%5), record)
		one.compress(&bytes.Buffer{})
		same(t, decode(t, one)[0], record, origin(2, 100))
	})
}

func BenchmarkEncoding(b *testing.B) {
	record := &kgo.Record{Key: []byte("k0000000000000000001"), Value: bytes.Repeat([]byte("v"), 200), Timestamp: at(1700000000000)}
	full := newLoad(0)
	for i := 0; b.Loop(); i++ {
		full.add(record, int32(i%24), origin(1, int64(i)))
		if full.bytes > 4<<20 {
			full.clear()
		}
	}
}

// readAs gives a record with this timestamp as franz-go reads it.
func readAs(ms int64) *kgo.Record { return &kgo.Record{Timestamp: time.Unix(0, ms*1e6)} }

func TestTimestampsOutsideOfNanosecondsAreExact(t *testing.T) {
	for _, ms := range []int64{0, -1, 1, 1700000000000, 1700000000000000, -62135596800000, 9223372036855, -9223372036856, 1<<57 - 1, -1 << 57} {
		if got := millis(readAs(ms)); got != ms {
			t.Errorf("%d became %d", ms, got)
		}
		one := &batch{}
		one.reset(0, 0)
		one.add(readAs(1700000000000), origin(0, 0))
		one.add(readAs(ms), origin(0, 1))
		if read := decode(t, one); millis(read[1]) != ms {
			t.Errorf("%d was read back as %d", ms, millis(read[1]))
		}
	}
}
