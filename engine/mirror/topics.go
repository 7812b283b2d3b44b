package mirror

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/offsets"
	"cutover/engine/wire"
)

// leadersOf gives the broker of each partition, and stops when the topic is no longer the one of the run.
func leadersOf(ctx context.Context, client *kgo.Client, topic wire.Topic) (map[int32]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(topic.Name)
	request.Topics = append(request.Topics, about)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, connect.Unreachable(err)
	}
	if len(answer.Topics) != 1 {
		return nil, wire.Faultf("engine_failed", "metadata of one topic gave %d", len(answer.Topics))
	}
	return checked(topic, answer.Topics[0])
}

func checked(topic wire.Topic, answer kmsg.MetadataResponseTopic) (map[int32]int32, error) {
	err := kerr.ErrorForCode(answer.ErrorCode)
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition), errors.Is(err, kerr.UnknownTopicID):
		return nil, wire.Faultf("topic_gone", "topic %s is not there any more", topic.Name).With(map[string]any{"topic": topic.Name})
	case err != nil:
		return nil, connect.Needs(fmt.Errorf("metadata of %s: %w", topic.Name, err), "READ", "topic", topic.Name)
	case answer.TopicID != topic.ID:
		return nil, wire.Faultf("topic_recreated", "topic %s was deleted and made again: its id is %s and was %s", topic.Name, wire.TopicID(answer.TopicID), topic.ID).
			With(map[string]any{"topic": topic.Name})
	case len(answer.Partitions) != int(topic.Partitions):
		return nil, wire.Faultf("partitions_changed", "topic %s has %d partitions and had %d", topic.Name, len(answer.Partitions), topic.Partitions).
			With(map[string]any{"topic": topic.Name, "partitions": len(answer.Partitions)})
	}
	leaders := map[int32]int32{}
	for _, one := range answer.Partitions {
		leaders[one.Partition] = one.Leader
	}
	return leaders, nil
}

// outran tells whether retention took what was to be copied next, or the log was cut off below it.
func outran(ctx context.Context, client *kgo.Client, topic wire.Topic, gone *outOfRange) error {
	begins, err := offsets.Begin(ctx, client, topic.Name)
	if err != nil {
		return err
	}
	return outranFault(topic, gone, begins[gone.partition])
}

func outranFault(topic wire.Topic, gone *outOfRange, begin int64) error {
	fields := map[string]any{"topic": topic.Name, "partition": gone.partition, "position": gone.position, "log_start": begin}
	if begin > gone.position || begin < 0 {
		return wire.Faultf("retention_overtook", "partition %d of %s: the next record to copy, at offset %d, is gone: the log now starts at %d",
			gone.partition, topic.Name, gone.position, begin).With(fields)
	}
	return wire.Faultf("origin_truncated", "partition %d of %s ends before offset %d, which was copied already",
		gone.partition, topic.Name, gone.position).With(fields)
}
