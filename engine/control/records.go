package control

import (
	"context"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/offsets"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

const readableWithin = 5 * time.Second // for the marker after a commit

// controlRecord is one record to append; bytes are base64 in JSON, a null value is a tombstone.
type controlRecord struct {
	Key     []byte          `json:"key"`
	Value   []byte          `json:"value"`
	Headers []controlHeader `json:"headers"`
}

type controlHeader struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// writeControl appends records to the one partition of a control topic, all or none, and answers when they can be read.
func (w *writer) writeControl(ctx context.Context, command wire.Command) (any, error) {
	began := time.Now()
	var asked struct {
		Topic   string          `json:"topic"`
		TopicID wire.TopicID    `json:"topic_id"`
		Records []controlRecord `json:"records"`
	}
	if err := command.Decode(&asked); err != nil {
		return nil, err
	}
	if asked.Topic == "" || len(asked.Records) == 0 {
		return nil, wire.Faultf("bad_command", "write_control names no topic or no records")
	}
	leader, err := w.onePartition(ctx, asked.Topic, asked.TopicID)
	if err != nil {
		return nil, err
	}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	first := int64(-1)
	err = w.attempt(ctx, func() (err error) {
		first, err = w.append(ctx, asked.Topic, asked.TopicID, leader, asked.Records)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := w.end(ctx); err != nil {
		return nil, err
	}
	written := make([]int64, len(asked.Records))
	for i := range written {
		written[i] = first + int64(i)
	}
	if err := w.readable(ctx, asked.Topic, first+int64(len(written))); err != nil {
		return nil, err
	}
	return map[string]any{"offsets": written, "milliseconds": sinceMs(began)}, nil
}

func (w *writer) append(ctx context.Context, topic string, id wire.TopicID, leader int32, records []controlRecord) (int64, error) {
	if err := w.session.AddPartitions(ctx, topic, []int32{0}); err != nil {
		return -1, err
	}
	now := time.Now().UnixMilli()
	batch := &transaction.Batch{Bytes: make([]byte, transaction.BatchHeader), Records: int32(len(records)), BaseMs: now, MaxMs: now}
	for i, record := range records {
		batch.Bytes = record.encode(batch.Bytes, int32(i))
	}
	return w.session.Append(ctx, topic, id, leader, batch)
}

func (r *controlRecord) encode(to []byte, delta int32) []byte {
	record := kmsg.Record{OffsetDelta: delta, Key: r.Key, Value: r.Value}
	for _, header := range r.Headers {
		record.Headers = append(record.Headers, kmsg.Header{Key: header.Key, Value: header.Value})
	}
	body := record.AppendTo(nil)[1:] // its length field is zero, one byte
	return append(binary.AppendVarint(to, int64(len(body))), body...)
}

// readable waits until the last stable offset has passed what was written: EndTxn answers before its marker is there.
func (w *writer) readable(ctx context.Context, topic string, end int64) error {
	for deadline := time.Now().Add(readableWithin); ; {
		ends, err := offsets.Stable(ctx, w.client, topic)
		if err == nil && ends[0] >= end {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return wire.Faultf("not_visible", "the records are committed, and cannot be read yet: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}

// onePartition finds the leader of a control topic, and refuses one that has more partitions.
func (w *writer) onePartition(ctx context.Context, topic string, id wire.TopicID) (int32, error) {
	partitions, err := w.sameTopic(ctx, topic, id)
	if err != nil {
		return -1, err
	}
	if len(partitions) != 1 {
		return -1, wire.Faultf("partitions_changed", "control topic %s has %d partitions, not 1", topic, len(partitions)).
			With(map[string]any{"topic": topic})
	}
	return partitions[0].Leader, nil
}

// sameTopic refuses a topic that is gone or was made again.
func (w *writer) sameTopic(ctx context.Context, topic string, id wire.TopicID) ([]kmsg.MetadataResponseTopicPartition, error) {
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, about)
	answer, err := request.RequestWith(ctx, w.client)
	if err != nil {
		return nil, connect.Unreachable(err)
	}
	found := answer.Topics[0]
	switch err := kerr.ErrorForCode(found.ErrorCode); {
	case connect.IsUnknownTopic(err):
		return nil, wire.Faultf("unknown_topic", "there is no topic %s", topic).With(map[string]any{"topic": topic})
	case err != nil:
		return nil, connect.Unreachable(fmt.Errorf("metadata of %s: %w", topic, err))
	case found.TopicID != id:
		return nil, wire.Faultf("topic_recreated", "topic %s was deleted and made again: its id is %s and was %s", topic, wire.TopicID(found.TopicID), id).
			With(map[string]any{"topic": topic})
	}
	return found.Partitions, nil
}
