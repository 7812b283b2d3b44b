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

// plainRecord is one record to append; bytes are base64 in JSON, a null value is a tombstone. Without a timestamp it is now.
type plainRecord struct {
	Key         []byte        `json:"key"`
	Value       []byte        `json:"value"`
	Headers     []plainHeader `json:"headers"`
	TimestampMs *int64        `json:"timestamp_ms"`
}

type plainHeader struct {
	Key   string `json:"key"`
	Value []byte `json:"value"`
}

// appendCommand is what write_control and append_records ask for.
type appendCommand struct {
	Topic     string        `json:"topic"`
	TopicID   wire.TopicID  `json:"topic_id"`
	Partition int32         `json:"partition"` // append_records
	Records   []plainRecord `json:"records"`
}

// writeControl appends records to the one partition of a control topic, all or none, and answers when they can be read.
func (w *writer) writeControl(ctx context.Context, command wire.Command) (any, error) {
	return w.appendAll(ctx, command, func(partitions int, asked appendCommand) error {
		if partitions != 1 || asked.Partition != 0 {
			return wire.Faultf("partitions_changed", "control topic %s has %d partitions, not 1", asked.Topic, partitions).
				With(map[string]any{"topic": asked.Topic})
		}
		return nil
	})
}

// appendRecords appends records to one partition of any topic, likewise.
func (w *writer) appendRecords(ctx context.Context, command wire.Command) (any, error) {
	return w.appendAll(ctx, command, func(partitions int, asked appendCommand) error {
		if asked.Partition < 0 || int(asked.Partition) >= partitions {
			return wire.Faultf("bad_command", "%s has no partition %d", asked.Topic, asked.Partition)
		}
		return nil
	})
}

func (w *writer) appendAll(ctx context.Context, command wire.Command, fits func(int, appendCommand) error) (any, error) {
	began := time.Now()
	var asked appendCommand
	if err := command.Decode(&asked); err != nil {
		return nil, err
	}
	if asked.Topic == "" || len(asked.Records) == 0 {
		return nil, wire.Faultf("bad_command", "%s names no topic or no records", command.Name)
	}
	partitions, err := w.sameTopic(ctx, asked.Topic, asked.TopicID)
	if err != nil {
		return nil, err
	}
	if err := fits(len(partitions), asked); err != nil {
		return nil, err
	}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	first := int64(-1)
	err = w.attempt(ctx, func() (err error) {
		first, err = w.append(ctx, &asked, leaderOf(partitions, asked.Partition))
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
	if err := w.readable(ctx, asked.Topic, asked.Partition, first+int64(len(written))); err != nil {
		return nil, err
	}
	return map[string]any{"offsets": written, "milliseconds": sinceMs(began)}, nil
}

func leaderOf(partitions []kmsg.MetadataResponseTopicPartition, wanted int32) int32 {
	for _, each := range partitions {
		if each.Partition == wanted {
			return each.Leader
		}
	}
	return -1
}

func (w *writer) append(ctx context.Context, asked *appendCommand, leader int32) (int64, error) {
	if err := w.session.AddPartitions(ctx, asked.Topic, []int32{asked.Partition}); err != nil {
		return -1, err
	}
	return w.session.Append(ctx, asked.Topic, asked.TopicID, leader, batchOf(asked.Records, asked.Partition, time.Now().UnixMilli()))
}

// batchOf encodes records as one batch. The first one's time is what the others count from; now is for those without.
func batchOf(records []plainRecord, partition int32, now int64) *transaction.Batch {
	batch := &transaction.Batch{Bytes: make([]byte, transaction.BatchHeader), Partition: partition, Records: int32(len(records))}
	for i, record := range records {
		at := now
		if record.TimestampMs != nil {
			at = *record.TimestampMs
		}
		if i == 0 {
			batch.BaseMs, batch.MaxMs = at, at
		}
		batch.MaxMs = max(batch.MaxMs, at)
		batch.Bytes = record.encode(batch.Bytes, int32(i), at-batch.BaseMs)
	}
	return batch
}

func (r *plainRecord) encode(to []byte, delta int32, deltaMs int64) []byte {
	record := kmsg.Record{OffsetDelta: delta, TimestampDelta64: deltaMs, Key: r.Key, Value: r.Value}
	for _, header := range r.Headers {
		record.Headers = append(record.Headers, kmsg.Header{Key: header.Key, Value: header.Value})
	}
	body := record.AppendTo(nil)[1:] // its length field is zero, one byte
	return append(binary.AppendVarint(to, int64(len(body))), body...)
}

// readable waits until the last stable offset has passed what was written: EndTxn answers before its marker is there.
func (w *writer) readable(ctx context.Context, topic string, partition int32, end int64) error {
	for deadline := time.Now().Add(readableWithin); ; {
		ends, err := offsets.Stable(ctx, w.client, topic)
		if err == nil && ends[partition] >= end {
			return nil
		}
		if time.Now().After(deadline) || ctx.Err() != nil {
			return wire.Faultf("not_visible", "the records are committed, and cannot be read yet: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
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
