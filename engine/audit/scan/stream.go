package scan

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	answerBytes    = 8 << 20
	partitionBytes = 1 << 20
	waitMs         = 100
	readCommitted  = 1
)

// progress is how far one partition was read.
type progress struct {
	partition int32
	within    Range
	at        int64
	sink      Sink
	scratch   Record
}

func (p *progress) done() bool { return p.at >= p.within.Until }

// stream reads from one broker: while one answer is being decoded the next is on its way.
type stream struct {
	reader *Reader
	broker int32
	left   []*progress
}

// piece is what one answer holds of one partition.
type piece struct {
	of      *progress
	within  Range
	bytes   []byte
	aborted aborted
}

// run returns nil when all is read or when the leaders must be looked up anew.
func (s *stream) run(ctx context.Context) error {
	answers := make(chan *kmsg.FetchResponse, 1)
	s.ask(ctx, answers)
	moved := time.Now()
	for {
		answer := <-answers
		if answer == nil || time.Since(moved) > patient {
			return ctx.Err()
		}
		pieces, again, err := s.cut(answer)
		if err != nil {
			return err
		}
		s.left = slices.DeleteFunc(s.left, (*progress).done)
		further := !again && len(s.left) > 0
		if further {
			s.ask(ctx, answers)
		}
		if len(pieces) > 0 {
			moved = time.Now()
		}
		if err := s.decode(pieces); err != nil {
			return err
		}
		if !further {
			return nil
		}
	}
}

// ask sends one fetch for all that is left; nil comes back when the broker did not answer.
func (s *stream) ask(ctx context.Context, answers chan<- *kmsg.FetchResponse) {
	request := kmsg.NewPtrFetchRequest()
	request.MaxWaitMillis, request.MinBytes, request.MaxBytes, request.IsolationLevel = waitMs, 1, answerBytes, readCommitted
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic, topic.TopicID = s.reader.Topic.Name, s.reader.Topic.ID
	for _, each := range s.left {
		one := kmsg.NewFetchRequestTopicPartition()
		one.Partition, one.FetchOffset, one.PartitionMaxBytes = each.partition, each.at, partitionBytes
		topic.Partitions = append(topic.Partitions, one)
	}
	request.Topics = append(request.Topics, topic)
	// The first partition asked for is the only one that is sure to get a batch above the limit: take turns.
	s.left = append(s.left[1:], s.left[0])
	go func() {
		answer, err := s.reader.Client.Broker(int(s.broker)).Request(ctx, request)
		if err != nil {
			answers <- nil
			return
		}
		answers <- answer.(*kmsg.FetchResponse)
	}()
}

// cut walks the batches' headers, so that the next fetch can be asked for before anything is decoded.
func (s *stream) cut(answer *kmsg.FetchResponse) (pieces []piece, again bool, err error) {
	if answer.ErrorCode != 0 {
		return nil, true, nil
	}
	for t := range answer.Topics {
		for i := range answer.Topics[t].Partitions {
			one := &answer.Topics[t].Partitions[i]
			of := s.find(one.Partition)
			if of == nil {
				continue
			}
			if code := kerr.ErrorForCode(one.ErrorCode); code != nil {
				if errors.Is(code, kerr.OffsetOutOfRange) {
					return nil, false, Expired{Partition: of.partition, Offset: of.at}
				}
				if !retriable(code) {
					return nil, false, failed(code)
				}
				again = true
				continue
			}
			cut, err := of.cut(one)
			if err != nil {
				return nil, false, s.reader.spoilt(of.partition, err)
			}
			if cut.within.Until > cut.within.From {
				s.reader.Offsets.Add(cut.within.Until - cut.within.From)
				s.reader.Bytes.Add(int64(len(cut.bytes)))
				pieces = append(pieces, cut)
			}
		}
	}
	return pieces, again, nil
}

func retriable(code error) bool {
	return kerr.IsRetriable(code) || errors.Is(code, kerr.UnknownTopicID) || errors.Is(code, kerr.UnknownTopicOrPartition)
}

func (s *stream) find(partition int32) *progress {
	for _, each := range s.left {
		if each.partition == partition {
			return each
		}
	}
	return nil
}

func (p *progress) cut(answer *kmsg.FetchResponseTopicPartition) (piece, error) {
	got := piece{of: p, within: Range{p.at, p.at}, bytes: answer.RecordBatches, aborted: abortedIn(answer)}
	for rest := answer.RecordBatches; ; {
		next, after, whole, err := nextBatch(rest)
		if err != nil {
			return piece{}, err
		}
		if !whole || next.first >= p.within.Until {
			if whole { // nothing more of the range can follow
				got.within.Until = p.within.Until
			}
			break
		}
		got.within.Until, rest = max(p.at, min(next.last+1, p.within.Until)), after
	}
	p.at = got.within.Until
	return got, nil
}

// decode hands the records of an answer out, several partitions at a time.
func (s *stream) decode(pieces []piece) error {
	var next atomic.Int64
	var workers sync.WaitGroup
	failures := make([]error, len(pieces))
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(pieces) {
				return
			}
			if err := s.reader.decode(&pieces[i]); err != nil {
				failures[i] = s.reader.spoilt(pieces[i].of.partition, err)
			}
		}
	}
	for range min(runtime.GOMAXPROCS(0), len(pieces)) - 1 {
		workers.Go(work)
	}
	work()
	workers.Wait()
	return errors.Join(failures...)
}

func (r *Reader) decode(p *piece) error {
	records := int64(0)
	take := func(record *Record) error {
		records++
		return p.of.sink.Take(record)
	}
	for rest := p.bytes; ; {
		next, after, whole, err := nextBatch(rest)
		if err != nil {
			return err
		}
		if !whole || next.first >= p.within.Until {
			break
		}
		rest = after
		if next.last < p.within.From {
			continue
		}
		if err := r.decodeBatch(&next, p, take); err != nil {
			return err
		}
		r.Records.Add(records)
		records = 0
	}
	return nil
}

func (r *Reader) decodeBatch(next *batch, p *piece, take func(*Record) error) error {
	if err := next.verify(); err != nil {
		return err
	}
	if next.isControl() {
		abort, err := next.isAbort()
		if abort {
			p.aborted.passed(next.producer)
		}
		return err
	}
	if next.records == 0 || p.aborted.holds(next) {
		return nil
	}
	raw, err := next.open(r.decompressor)
	if err != nil {
		return err
	}
	return next.each(raw, p.within, &p.of.scratch, take)
}
