package translate

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/wire"
)

const (
	narrowBytes  = 288 << 10 // of a probe: one batch as the mirror writes them while it catches up
	wideBytes    = 1 << 20   // where a probe gave nothing, and for reading on
	aloneBytes   = 4 << 20   // a partition alone in its request gets a whole batch whatever its size
	requestBytes = 40 << 20  // of one answer, below the broker's fetch.max.bytes
	settleWait   = 20 * time.Millisecond
	settleTime   = 15 * time.Second
)

// Stats counts the work of a translation.
type Stats struct{ Requests, Bytes, Records atomic.Int64 }

// Reader is the Log of a real topic: read_committed, over raw fetches, all partitions of a broker in one request.
type Reader struct {
	client *kgo.Client
	topic  wire.Topic
	keep   func(h *header) bool                         // which batches count
	seen   func(offset int64, body []byte) (Seen, bool) // which records count
	bytes  int32                                        // asked for at first
	stats  *Stats

	decompressor kgo.Decompressor
	leaders      map[int32]int32
}

// NewMirrored reads what the lanes of an epoch wrote to its follower: batches of their producer ids, records with the
// epoch's provenance.
func NewMirrored(client *kgo.Client, follower wire.Topic, run wire.RunID, epoch uint32, producers map[int64]bool, stats *Stats) *Reader {
	return &Reader{
		client: client, topic: follower, bytes: narrowBytes, stats: stats, decompressor: kgo.DefaultDecompressor(),
		keep: func(h *header) bool { return producers[h.producer] },
		seen: func(offset int64, body []byte) (Seen, bool) {
			from, ok := stamped(body)
			return Seen{At: offset, Parent: from.Partition, Origin: from.Offset}, ok && from.Run == run && from.Epoch == epoch
		},
	}
}

// NewWhole reads every committed data record of a topic.
func NewWhole(client *kgo.Client, topic wire.Topic, stats *Stats) *Reader {
	return &Reader{
		client: client, topic: topic, bytes: narrowBytes, stats: stats, decompressor: kgo.DefaultDecompressor(),
		keep: func(*header) bool { return true },
		seen: func(offset int64, _ []byte) (Seen, bool) { return Seen{At: offset, Parent: -1}, true },
	}
}

// Wide is the same reader for reading on instead of probing.
func (r *Reader) Wide() *Reader {
	wide := *r
	wide.bytes = wideBytes
	return &wide
}

// ask is one partition of a round.
type ask struct {
	q     int32
	at    int64
	bytes int32
}

// Probe implements Log. Partitions that gave nothing are asked again for more, at last each by itself.
func (r *Reader) Probe(ctx context.Context, at map[int32]int64) (map[int32]Piece, error) {
	left := map[int32]ask{}
	for q, offset := range at {
		left[q] = ask{q, offset, r.bytes}
	}
	pieces, deadline := map[int32]Piece{}, time.Now().Add(settleTime)
	for len(left) > 0 {
		if err := r.findLeaders(ctx); err != nil {
			return nil, err
		}
		answers, err := r.fetch(ctx, r.requests(left))
		if err != nil {
			return nil, err
		}
		unsettled, err := r.decode(answers, left, pieces)
		if err != nil {
			return nil, err
		}
		if unsettled == nil {
			continue
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return nil, connect.Unreachable(fmt.Errorf("reading %s: %w", r.topic.Name, unsettled))
		}
		r.leaders = nil
		time.Sleep(settleWait)
	}
	return pieces, nil
}

type addressed struct {
	broker  int32
	request *kmsg.FetchRequest
}

// requests packs the asks: few requests, none with an answer above what brokers give.
func (r *Reader) requests(left map[int32]ask) []addressed {
	var all []addressed
	open, sum := map[int32]*kmsg.FetchRequest{}, map[int32]int32{}
	for _, one := range left {
		broker := r.leaders[one.q]
		if one.bytes >= aloneBytes {
			alone := r.request()
			add(alone, one)
			all = append(all, addressed{broker, alone})
			continue
		}
		if open[broker] == nil || sum[broker]+one.bytes > requestBytes {
			open[broker], sum[broker] = r.request(), 0
			all = append(all, addressed{broker, open[broker]})
		}
		add(open[broker], one)
		sum[broker] += one.bytes
	}
	return all
}

func (r *Reader) request() *kmsg.FetchRequest {
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.IsolationLevel = 0, 0, requestBytes, 1
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = r.topic.Name, r.topic.ID
	request.Topics = append(request.Topics, topic)
	return request
}

func add(to *kmsg.FetchRequest, one ask) {
	partition := kmsg.NewFetchRequestTopicPartition()
	partition.Partition, partition.FetchOffset, partition.PartitionMaxBytes = one.q, one.at, one.bytes
	to.Topics[0].Partitions = append(to.Topics[0].Partitions, partition)
}

// fetch sends all requests at once; a broker that does not answer leaves its partitions for the next try.
func (r *Reader) fetch(ctx context.Context, requests []addressed) ([]*kmsg.FetchResponse, error) {
	answers, failures := make([]*kmsg.FetchResponse, len(requests)), make([]error, len(requests))
	var sent sync.WaitGroup
	for i, one := range requests {
		sent.Go(func() {
			answer, err := r.client.Broker(int(one.broker)).Request(ctx, one.request)
			if err != nil {
				failures[i] = err
				return
			}
			answers[i] = answer.(*kmsg.FetchResponse)
		})
	}
	sent.Wait()
	r.stats.Requests.Add(int64(len(requests)))
	for i, err := range failures {
		if err == nil {
			continue
		}
		if ctx.Err() != nil || len(requests) == 1 {
			return nil, connect.Unreachable(err)
		}
		answers[i] = kmsg.NewPtrFetchResponse()
	}
	return answers, nil
}

// fetched is what one answer holds of one partition.
type fetched struct {
	ask    ask
	answer *kmsg.FetchResponseTopicPartition
	piece  Piece
	more   bool // nothing whole came
	err    error
}

// decode turns answers into pieces, on all cores. It returns an error that passes by itself apart from one that stays.
func (r *Reader) decode(answers []*kmsg.FetchResponse, left map[int32]ask, pieces map[int32]Piece) (passing, failed error) {
	var all []*fetched
	for _, answer := range answers {
		for t := range answer.Topics {
			for i := range answer.Topics[t].Partitions {
				one := &answer.Topics[t].Partitions[i]
				if asked, open := left[one.Partition]; open {
					all = append(all, &fetched{ask: asked, answer: one})
				}
			}
		}
	}
	r.decodeAll(all)
	answered := false
	for _, one := range all {
		switch {
		case one.err != nil && kerr.IsRetriable(one.err):
			passing = one.err
		case one.err != nil:
			return nil, r.refused(one)
		case one.more:
			left[one.ask.q], answered = ask{one.ask.q, one.ask.at, larger(one.ask.bytes)}, true
		default:
			pieces[one.ask.q], answered = one.piece, true
			delete(left, one.ask.q)
		}
	}
	if !answered && passing == nil && len(left) > 0 {
		passing = kerr.LeaderNotAvailable
	}
	return passing, nil
}

func (r *Reader) decodeAll(all []*fetched) {
	var next, records atomic.Int64
	var workers sync.WaitGroup
	work := func() {
		for i := next.Add(1) - 1; i < int64(len(all)); i = next.Add(1) - 1 {
			r.decodeOne(all[i])
			records.Add(int64(len(all[i].piece.Seen)))
			r.stats.Bytes.Add(int64(len(all[i].answer.RecordBatches)))
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(all)) {
		workers.Go(work)
	}
	workers.Wait()
	r.stats.Records.Add(records.Load())
}

func larger(bytes int32) int32 {
	if bytes < wideBytes {
		return wideBytes
	}
	return aloneBytes
}

func (r *Reader) decodeOne(one *fetched) {
	if one.err = kerr.ErrorForCode(one.answer.ErrorCode); one.err != nil {
		return
	}
	piece := Piece{From: one.ask.at, Until: one.ask.at}
	hidden := newAborts(one.answer.AbortedTransactions)
	for rest := one.answer.RecordBatches; ; {
		batch, after, whole, err := cutBatch(rest)
		if err != nil {
			one.err = err
			return
		}
		if !whole {
			break
		}
		rest = after
		piece.From, piece.Until = min(piece.From, batch.first), max(piece.Until, batch.last+1)
		if hidden.hide(&batch) || !r.keep(&batch) {
			continue
		}
		one.err = recordsIn(&batch, r.decompressor, func(offset int64, body []byte) {
			if seen, counts := r.seen(offset, body); counts {
				piece.Seen = append(piece.Seen, seen)
			}
		})
		if one.err != nil {
			return
		}
	}
	one.piece, one.more = piece, piece.Until == one.ask.at
	if one.more && one.ask.bytes >= aloneBytes {
		if one.answer.LastStableOffset <= one.ask.at {
			one.err = kerr.OffsetNotAvailable // a new leader may not know yet how far it was
			return
		}
		one.piece.Until, one.more = one.answer.LastStableOffset, false // the cleaner left nothing up to the end
	}
}

func (r *Reader) refused(one *fetched) error {
	fields := map[string]any{"topic": r.topic.Name, "partition": one.ask.q, "offset": one.ask.at, "log_start": one.answer.LogStartOffset}
	switch {
	case errors.Is(one.err, kerr.OffsetOutOfRange):
		return wire.Faultf("retention_overtook", "partition %d of %s no longer has offset %d", one.ask.q, r.topic.Name, one.ask.at).With(fields)
	case errors.Is(one.err, kerr.TopicAuthorizationFailed):
		return connect.Unreachable(one.err)
	}
	return fmt.Errorf("partition %d of %s at offset %d: %w", one.ask.q, r.topic.Name, one.ask.at, one.err)
}

// findLeaders asks where the partitions are, and stops when the topic is no longer the one that was named.
func (r *Reader) findLeaders(ctx context.Context) error {
	if r.leaders != nil {
		return nil
	}
	leaders, err := leadersOf(ctx, r.client, r.topic)
	r.leaders = leaders
	return err
}

func leadersOf(ctx context.Context, client *kgo.Client, topic wire.Topic) (map[int32]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(topic.Name)
	request.Topics = append(request.Topics, about)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, connect.Unreachable(err)
	}
	described := answer.Topics[0]
	switch err := kerr.ErrorForCode(described.ErrorCode); {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return nil, wire.Faultf("unknown_topic", "there is no topic %s", topic.Name).With(map[string]any{"topic": topic.Name})
	case err != nil:
		return nil, connect.Unreachable(fmt.Errorf("metadata of %s: %w", topic.Name, err))
	case described.TopicID != topic.ID:
		return nil, wire.Faultf("topic_recreated", "topic %s was deleted and made again: its id is %s and was %s", topic.Name, wire.TopicID(described.TopicID), topic.ID).
			With(map[string]any{"topic": topic.Name})
	case len(described.Partitions) != int(topic.Partitions):
		return nil, wire.Faultf("partitions_changed", "topic %s has %d partitions and had %d", topic.Name, len(described.Partitions), topic.Partitions).
			With(map[string]any{"topic": topic.Name, "partitions": len(described.Partitions)})
	}
	leaders := map[int32]int32{}
	for _, one := range described.Partitions {
		leaders[one.Partition] = one.Leader
	}
	return leaders, nil
}

var _ Log = (*Reader)(nil)
