package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	tick      = time.Millisecond
	patience  = 15 * time.Second // for the last records to arrive
	fetchWait = 500 * time.Millisecond
)

// Quantiles are of milliseconds.
type Quantiles struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	Max float64 `json:"max"`
}

// Delivered is how long records took from produce() to a read_committed consumer of each topic. Added is, record by record, how
// much later it came on the follower than on the origin.
type Delivered struct {
	Records   int64     `json:"records"`
	PerSecond float64   `json:"per_second"`
	Origin    Quantiles `json:"origin"`
	Follower  Quantiles `json:"follower"`
	Added     Quantiles `json:"added"`
}

// arrivals holds the moment of each record by its number; 0: not seen yet.
type arrivals struct {
	at   []int64 // nanoseconds on this process's clock
	seen atomic.Int64
}

// deliver writes records at a steady rate and notes when consumers of both topics get each of them.
func deliver(ctx context.Context, a asked) (any, error) {
	total, skipped := int64(a.perSecond*(a.seconds+a.warmUp)), int64(a.perSecond*a.warmUp)
	began := time.Now()
	sent := make([]int64, total)
	origin, follower := &arrivals{at: make([]int64, total)}, &arrivals{at: make([]int64, total)}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	failures := make(chan error, 2)
	for topic, into := range map[string]*arrivals{a.topic: origin, a.follower: follower} {
		client, err := reader(ctx, a.bootstrap, topic)
		if err != nil {
			return nil, err
		}
		defer client.Close()
		go func() { failures <- into.note(reading, client, began) }()
	}
	if err := steadily(ctx, a, sent, began); err != nil {
		return nil, err
	}
	took := time.Since(began).Seconds()
	if err := wait(ctx, failures, origin, follower); err != nil {
		return nil, err
	}
	stop()
	return Delivered{
		Records: total - skipped, PerSecond: float64(total) / took,
		Origin:   quantiles(origin.at[skipped:], sent[skipped:]),
		Follower: quantiles(follower.at[skipped:], sent[skipped:]),
		Added:    quantiles(follower.at[skipped:], origin.at[skipped:]),
	}, nil
}

// reader opens a consumer of an empty topic.
func reader(ctx context.Context, bootstrap, topic string) (*kgo.Client, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(bootstrap), kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(fetchWait))
	if err != nil {
		return nil, err
	}
	if err := client.Ping(ctx); err != nil {
		client.Close()
		return nil, fmt.Errorf("reading %s: %w", topic, err)
	}
	return client, nil
}

func (a *arrivals) note(ctx context.Context, client *kgo.Client, began time.Time) error {
	for {
		fetches := client.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err := fetches.Err(); err != nil {
			return err
		}
		now, fresh := int64(time.Since(began)), int64(0)
		var wrong error
		fetches.EachRecord(func(record *kgo.Record) {
			number := int64(binary.BigEndian.Uint64(record.Value))
			if number >= int64(len(a.at)) || a.at[number] != 0 {
				wrong = fmt.Errorf("record %d came twice or was never sent", number)
				return
			}
			a.at[number] = now
			fresh++
		})
		if wrong != nil {
			return wrong
		}
		a.seen.Add(fresh)
	}
}

// steadily writes what is due each millisecond, at once.
func steadily(ctx context.Context, a asked, sent []int64, began time.Time) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(a.bootstrap), kgo.DefaultProduceTopic(a.topic), kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerBatchCompression(compression(a.codec)), kgo.ProducerLinger(0), kgo.RecordPartitioner(kgo.StickyKeyPartitioner(nil)))
	if err != nil {
		return err
	}
	defer client.Close()
	if err := client.Ping(ctx); err != nil {
		return err
	}
	filler, start := values(a.valueBytes)[0], time.Now()
	var refused atomic.Pointer[error]
	for next := 0; next < len(sent); time.Sleep(tick) {
		for due := min(len(sent), int(time.Since(start).Seconds()*a.perSecond)); next < due; next++ {
			value := slices.Clone(filler)
			binary.BigEndian.PutUint64(value, uint64(next))
			sent[next] = int64(time.Since(began))
			client.Produce(ctx, &kgo.Record{Key: key(int64(next) % a.keys), Value: value}, func(_ *kgo.Record, err error) {
				if err != nil {
					refused.CompareAndSwap(nil, &err)
				}
			})
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if first := refused.Load(); first != nil {
		return *first
	}
	return nil
}

func wait(ctx context.Context, failures <-chan error, both ...*arrivals) error {
	for deadline := time.Now().Add(patience); ; {
		missing := int64(0)
		for _, one := range both {
			missing += int64(len(one.at)) - one.seen.Load()
		}
		switch {
		case missing == 0:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("%d records did not arrive within %s", missing, patience)
		}
		select {
		case err := <-failures:
			return errors.Join(errors.New("reading ended"), err)
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * tick):
		}
	}
}

func quantiles(later, earlier []int64) Quantiles {
	took := make([]float64, len(later))
	for i := range later {
		took[i] = float64(later[i]-earlier[i]) / 1e6
	}
	slices.Sort(took)
	at := func(share float64) float64 { return took[int(math.Ceil(share*float64(len(took))))-1] }
	return Quantiles{at(0.5), at(0.99), at(1)}
}
