// Package scan reads ranges of a topic's partitions as fast as the brokers send them: raw fetches, committed records only,
// no allocation per record, and at most two answers per broker in memory.
package scan

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/connect"
	"cutover/engine/wire"
)

// Range is half-open, in offsets.
type Range struct{ From, Until int64 }

// Sink takes the records of one partition, in order, from one goroutine at a time.
type Sink interface{ Take(*Record) error }

const (
	settle  = 250 * time.Millisecond // between looks at a cluster whose leaders move
	patient = 60 * time.Second       // without one step forward
)

// Reader reads one topic. Its counters may be read at any time.
type Reader struct {
	Client  *kgo.Client
	Topic   wire.Topic
	Records atomic.Int64
	Bytes   atomic.Int64
	Offsets atomic.Int64 // offsets passed, records or not

	decompressor kgo.Decompressor
}

// NewReader reads the topic through the client.
func NewReader(client *kgo.Client, topic wire.Topic) *Reader {
	return &Reader{Client: client, Topic: topic, decompressor: kgo.DefaultDecompressor()}
}

// Expired says that a range begins before what the topic still has.
type Expired struct {
	Partition int32
	Offset    int64
}

// Error says which partition.
func (e Expired) Error() string {
	return fmt.Sprintf("partition %d no longer has offset %d", e.Partition, e.Offset)
}

// Read hands every committed record of the ranges to the sink of its partition. It waits for open transactions below an end,
// for up to a minute without any step forward.
func (r *Reader) Read(ctx context.Context, ranges map[int32]Range, sinks func(partition int32) Sink) error {
	left := map[int32]*progress{}
	for partition, within := range ranges {
		if within.From < within.Until {
			left[partition] = &progress{partition: partition, within: within, at: within.From, sink: sinks(partition)}
		}
	}
	moved := time.Now()
	for len(left) > 0 {
		leaders, err := Leaders(ctx, r.Client, r.Topic)
		if err != nil {
			return err
		}
		before := standing(left)
		if err := r.fromLeaders(ctx, leaders, left); err != nil {
			return err
		}
		for partition, each := range left {
			if each.done() {
				delete(left, partition)
			}
		}
		if standing(left) != before {
			moved = time.Now()
		}
		if len(left) > 0 {
			if err := r.pause(ctx, moved, left); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *Reader) pause(ctx context.Context, moved time.Time, left map[int32]*progress) error {
	if time.Since(moved) > patient {
		return unreadable(r.Topic, left)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
		return nil
	}
}

// fromLeaders reads from every broker at once, until all is read or a broker must be looked for anew.
func (r *Reader) fromLeaders(ctx context.Context, leaders map[int32]int32, left map[int32]*progress) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	streams := map[int32]*stream{}
	for partition, each := range left {
		leader := leaders[partition]
		if streams[leader] == nil {
			streams[leader] = &stream{reader: r, broker: leader}
		}
		streams[leader].left = append(streams[leader].left, each)
	}
	outcomes := make(chan error, len(streams))
	for _, each := range streams {
		go func() { outcomes <- each.run(ctx) }()
	}
	var first error
	for range streams {
		if err := <-outcomes; err != nil && first == nil {
			first = err
			cancel()
		}
	}
	return first
}

func standing(left map[int32]*progress) int64 {
	sum := int64(0)
	for _, each := range left {
		sum += each.at
	}
	return sum
}

func unreadable(topic wire.Topic, left map[int32]*progress) error {
	stuck := map[string]any{}
	for partition, each := range left {
		stuck[fmt.Sprint(partition)] = map[string]int64{"at": each.at, "until": each.within.Until}
	}
	return wire.Faultf("range_unreadable", "%d partitions of %s could not be read to their end for %s: a transaction is open there or no broker answers",
		len(left), topic.Name, patient).With(map[string]any{"topic": topic.Name, "partitions": stuck})
}

// spoilt names the place where bytes came that are not records.
func (r *Reader) spoilt(partition int32, err error) error {
	return wire.Faultf("engine_failed", "partition %d of %s cannot be decoded: %v", partition, r.Topic.Name, err)
}

func failed(err error) error { return connect.Unreachable(err) }
