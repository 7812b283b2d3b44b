package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	batchBytes = 256 << 10
	distinct   = 4096 // values made before the clock runs
	stretch    = 16   // bytes; one stretch in three is random, so that lz4 has something to do and something to gain
	fetchBytes = 4 << 20
	stages     = 20 // of a load with hot keys
)

// values are made beforehand: a generator in the loop would be what is measured.
func values(size int) [][]byte {
	random := rand.New(rand.NewPCG(1, 2))
	words := []byte(`{"order":"pending","currency":"CAD","lines":[{"sku":"`)
	made := make([][]byte, distinct)
	for i := range made {
		made[i] = make([]byte, size)
		for at := range made[i] {
			made[i][at] = words[at%len(words)]
			if at/stretch%3 == 0 {
				made[i][at] = byte(random.Uint32())
			}
		}
	}
	return made
}

// key has 20 bytes.
func key(number int64) []byte { return fmt.Appendf(nil, "key-%016d", number) }

// keyOf chooses the key of a record: each in turn, or every second time one of those that are hot at this stage, so that
// partitions do not grow evenly.
func (a asked) keyOf(i int64) int64 {
	if a.hot > 0 && i%2 == 1 {
		return (i*stages/a.records*a.hot + i/2%a.hot) % a.keys
	}
	return i % a.keys
}

func compression(name string) kgo.CompressionCodec {
	if name == "lz4" {
		return kgo.Lz4Compression()
	}
	return kgo.NoCompression()
}

// Plain is what a plain producer or consumer did; seconds are from its first request for records to its last.
type Plain struct {
	Records int64   `json:"records"`
	Seconds float64 `json:"seconds"`
}

// produce writes records as fast as the library can: idempotent, acks=all.
func produce(ctx context.Context, a asked) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(a.bootstrap), kgo.DefaultProduceTopic(a.topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchMaxBytes(batchBytes), kgo.ProducerBatchCompression(compression(a.codec)), kgo.ProducerLinger(5*time.Millisecond),
		kgo.MaxBufferedRecords(50_000), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return nil, err
	}
	pool, keys := values(a.valueBytes), make([][]byte, a.keys)
	for i := range keys {
		keys[i] = key(int64(i))
	}
	var refused atomic.Pointer[error]
	began := time.Now()
	for i := range a.records {
		record := &kgo.Record{Key: keys[a.keyOf(i)], Value: pool[i%distinct]}
		client.Produce(ctx, record, func(_ *kgo.Record, err error) {
			if err != nil {
				refused.CompareAndSwap(nil, &err)
			}
		})
	}
	if err := client.Flush(ctx); err != nil {
		return nil, err
	}
	if first := refused.Load(); first != nil {
		return nil, *first
	}
	return Plain{a.records, time.Since(began).Seconds()}, nil
}

// consume reads a topic from its beginning as fast as the library can.
func consume(ctx context.Context, a asked) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(a.bootstrap), kgo.ConsumeTopics(a.topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxPartitionBytes(fetchBytes))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return nil, err
	}
	began, read := time.Now(), int64(0)
	for read < a.records {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		read += int64(fetches.NumRecords())
	}
	return Plain{read, time.Since(began).Seconds()}, nil
}
