package scan

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/wire"
)

const (
	atBegin = -2
	atEnd   = -1
)

// Leaders gives the leader of each partition, after it has made sure that the topic is still the one that was meant.
func Leaders(ctx context.Context, client *kgo.Client, topic wire.Topic) (map[int32]int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	asked := kmsg.NewMetadataRequestTopic()
	asked.Topic = kmsg.StringPtr(topic.Name)
	request.Topics = append(request.Topics, asked)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, failed(err)
	}
	if len(answer.Topics) != 1 {
		return nil, wire.Faultf("engine_failed", "metadata of %s came as %d topics", topic.Name, len(answer.Topics))
	}
	found := answer.Topics[0]
	if err := sameTopic(found, topic); err != nil {
		return nil, err
	}
	leaders := map[int32]int32{}
	for _, each := range found.Partitions {
		leaders[each.Partition] = each.Leader
	}
	return leaders, nil
}

func sameTopic(found kmsg.MetadataResponseTopic, meant wire.Topic) error {
	switch code := kerr.ErrorForCode(found.ErrorCode); {
	case errors.Is(code, kerr.UnknownTopicOrPartition):
		return wire.Faultf("unknown_topic", "the cluster has no topic %s", meant.Name)
	case code != nil && !kerr.IsRetriable(code):
		return failed(code)
	}
	if id := wire.TopicID(found.TopicID); id != meant.ID && id != (wire.TopicID{}) {
		return wire.Faultf("topic_recreated", "%s has the id %s, the audit is of %s", meant.Name, id, meant.ID).
			With(map[string]any{"topic": meant.Name, "found": id.String(), "meant": meant.ID.String()})
	}
	if count := int32(len(found.Partitions)); count != meant.Partitions && count > 0 {
		return wire.Faultf("partitions_changed", "%s has %d partitions, the audit is of %d", meant.Name, count, meant.Partitions)
	}
	return nil
}

// Begins gives the first offset that each partition still has.
func (r *Reader) Begins(ctx context.Context) (wire.Offsets, error) { return r.listed(ctx, atBegin, 0) }

// HighWatermarks gives the end of each partition, open transactions included.
func (r *Reader) HighWatermarks(ctx context.Context) (wire.Offsets, error) {
	return r.listed(ctx, atEnd, 0)
}

// StableEnds gives the end of what a reader of committed records can read.
func (r *Reader) StableEnds(ctx context.Context) (wire.Offsets, error) {
	return r.listed(ctx, atEnd, readCommitted)
}

// listed asks each leader, again and again while leaders move.
func (r *Reader) listed(ctx context.Context, at int64, isolation int8) (wire.Offsets, error) {
	deadline := time.Now().Add(patient)
	for {
		leaders, err := Leaders(ctx, r.Client, r.Topic)
		if err != nil {
			return nil, err
		}
		found, err := r.listOnce(ctx, leaders, at, isolation)
		if err == nil {
			return found, nil
		}
		if !kerr.IsRetriable(err) || time.Now().After(deadline) {
			return nil, failed(err)
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(settle):
		}
	}
}

func (r *Reader) listOnce(ctx context.Context, leaders map[int32]int32, at int64, isolation int8) (wire.Offsets, error) {
	byLeader := map[int32][]kmsg.ListOffsetsRequestTopicPartition{}
	for partition, leader := range leaders {
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp = partition, at
		byLeader[leader] = append(byLeader[leader], one)
	}
	found := wire.Offsets{}
	for leader, partitions := range byLeader {
		request := kmsg.NewPtrListOffsetsRequest()
		request.IsolationLevel = isolation
		request.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: r.Topic.Name, Partitions: partitions}}
		answer, err := r.Client.Broker(int(leader)).RetriableRequest(ctx, request)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", kerr.LeaderNotAvailable, err)
		}
		for _, topic := range answer.(*kmsg.ListOffsetsResponse).Topics {
			for _, each := range topic.Partitions {
				if err := kerr.ErrorForCode(each.ErrorCode); err != nil {
					return nil, err
				}
				found[each.Partition] = each.Offset
			}
		}
	}
	return found, nil
}
