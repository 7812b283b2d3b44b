package mirror

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
)

func sized1(bytesOf int) *kgo.Record {
	return &kgo.Record{Key: []byte("k"), Value: bytes.Repeat([]byte("v"), bytesOf), Timestamp: at(1)}
}

func TestABatchStaysBelowWhatTheFollowerTakes(t *testing.T) {
	full := newLoad(100_000)
	for i := range 200 {
		full.add(sized1(3000), 1, origin(0, int64(i)))
	}
	for _, one := range full.queues[1] {
		if len(one.Bytes) > 100_000 {
			t.Errorf("a batch of %d bytes", len(one.Bytes))
		}
	}
	if len(full.queues[1]) < 6 {
		t.Errorf("%d batches for 600 kB", len(full.queues[1]))
	}
}

func TestARecordAboveTheLimitIsAloneInItsBatch(t *testing.T) {
	full := newLoad(100_000)
	for i, size := range []int{10, 300_000, 10} {
		full.add(sized1(size), 1, origin(0, int64(i)))
	}
	queue := full.queues[1]
	if len(queue) != 3 || queue[1].Records != 1 || queue[1].first.Offset != 1 {
		t.Fatalf("%d batches", len(queue))
	}
}

func TestRoundsHoldOneBatchPerPartitionInOrder(t *testing.T) {
	full := newLoad(0)
	for i := range 9 {
		full.add(sized1(100_000), int32(i%2), origin(0, int64(i)))
	}
	last, seen := map[int32]int64{0: -1, 1: -1}, 0
	for _, round := range full.rounds() {
		there := map[int32]bool{}
		for _, one := range round {
			if there[one.Partition] || one.first.Offset <= last[one.Partition] {
				t.Fatalf("partition %d twice in a round, or out of order", one.Partition)
			}
			there[one.Partition], last[one.Partition] = true, one.first.Offset
			seen += int(one.Records)
		}
	}
	if seen != 9 || full.records != 9 {
		t.Errorf("%d records in rounds, %d counted", seen, full.records)
	}
}

func TestAnotherCodecBeginsAnotherBatch(t *testing.T) {
	full := newLoad(0)
	plain := sized1(1)
	for i := range 4 {
		record := *plain
		record.Attrs = codecAttrs(t, int16(i/2*3))
		full.add(&record, 0, origin(0, int64(i)))
	}
	if queue := full.queues[0]; len(queue) != 2 || queue[0].Codec != 0 || queue[1].Codec != 3 {
		t.Fatalf("%d batches", len(queue))
	}
}

// codecAttrs are those of a record that was read from a batch of this codec.
func codecAttrs(t *testing.T, codec int16) kgo.RecordAttrs {
	one := made(codec, sized1(5000))
	one.compress(&bytes.Buffer{})
	return decode(t, one)[0].Attrs
}

func TestSpansJoinWhatIsReadPieceByPiece(t *testing.T) {
	full := newLoad(0)
	full.read(3, 10, 12)
	full.read(3, 12, 20)
	full.read(4, 0, 0)
	if full.spans[3] != (span{10, 20}) || full.spans[4] != (span{0, 0}) || full.empty() {
		t.Errorf("spans %v", full.spans)
	}
}

func TestAClearedLoadKeepsBuffersButNotTooMany(t *testing.T) {
	full := newLoad(0)
	for i := range 100 {
		full.add(sized1(10_000), int32(i%4), origin(0, int64(i)))
	}
	full.clear()
	if !full.empty() || full.bytes != 0 || full.records != 0 || len(full.queues) != 0 || len(full.free) == 0 {
		t.Errorf("after clear: %+v", full)
	}
	for i := range 40 {
		full.add(sized1(1_000_000), int32(i), origin(0, int64(i)))
	}
	full.clear()
	if len(full.free) != 0 {
		t.Error("40 MB of buffers are kept")
	}
}

func TestLanesShareWhatAWorkerMayHold(t *testing.T) {
	for lanes := int32(1); lanes <= 400; lanes++ {
		if total := 2 * int64(lanes) * loadBytes(lanes); lanes <= 64 && total > 64<<20 {
			t.Errorf("%d lanes hold %d bytes", lanes, total)
		}
		if newPace(lanes).asked < leastFetch {
			t.Errorf("%d lanes ask for %d bytes", lanes, newPace(lanes).asked)
		}
	}
}

func TestLessIsAskedForWhenItGrowsInMemory(t *testing.T) {
	client, err := kgo.NewClient(kgo.SeedBrokers("127.0.0.1:1"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	one := newPace(4)
	for range 10 {
		one.OnFetchBatchRead(kgo.BrokerMetadata{}, "", 0, kgo.FetchBatchMetrics{NumRecords: 1, CompressedBytes: 1000, UncompressedBytes: 1000})
		one.adapt(client)
	}
	if one.asked != one.budget {
		t.Fatalf("%d bytes are asked for of plain data, %d may be held", one.asked, one.budget)
	}
	begin := one.asked
	one.OnFetchBatchRead(kgo.BrokerMetadata{}, "", 0, kgo.FetchBatchMetrics{NumRecords: 10, CompressedBytes: 1000, UncompressedBytes: 100_000})
	one.adapt(client)
	if one.asked > begin/20 {
		t.Errorf("%d bytes are asked for of data compressed 100 to 1", one.asked)
	}
	less := one.asked
	one.OnFetchBatchRead(kgo.BrokerMetadata{}, "", 0, kgo.FetchBatchMetrics{NumRecords: 1, CompressedBytes: 1000, UncompressedBytes: 1000})
	one.adapt(client)
	if one.asked != 2*less {
		t.Errorf("%d bytes are asked for after %d, and data that were plain again", one.asked, less)
	}
}

func TestQuantilesAreOfTheRightElements(t *testing.T) {
	var hundred []float64
	for i := range 100 {
		hundred = append(hundred, float64(100-i))
	}
	for share, want := range map[float64]float64{0.5: 50, 0.99: 99, 1: 100} {
		if got := quantile(hundred, share); got != want {
			t.Errorf("quantile %v is %v, want %v", share, got, want)
		}
	}
	if quantile(nil, 0.5) != 0 {
		t.Error(fmt.Sprint("of nothing: ", quantile(nil, 0.5)))
	}
}
