// Package offsets asks the cluster for offsets: where topics begin and end, and what groups have committed.
package offsets

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/wire"
)

const (
	latest   = -1
	earliest = -2
)

// For leaders to be elected, or pending offsets to be decided.
var settleTime = 10 * time.Second

// Begin gives the log start of each partition.
func Begin(ctx context.Context, client *kgo.Client, topic string) (wire.Offsets, error) {
	return list(ctx, client, topic, earliest, 0)
}

// Stable gives the last stable offset of each partition: what a read_committed reader can reach.
func Stable(ctx context.Context, client *kgo.Client, topic string) (wire.Offsets, error) {
	return list(ctx, client, topic, latest, 1)
}

// High gives the high watermark of each partition.
func High(ctx context.Context, client *kgo.Client, topic string) (wire.Offsets, error) {
	return list(ctx, client, topic, latest, 0)
}

// At gives the first offset at or after a time (milliseconds), or the last stable offset where there is none.
func At(ctx context.Context, client *kgo.Client, topic string, timeMs int64) (wire.Offsets, error) {
	ends, err := Stable(ctx, client, topic) // first: what comes after it lies past it
	if err != nil {
		return nil, err
	}
	found, err := list(ctx, client, topic, timeMs, 1)
	if err != nil {
		return nil, err
	}
	for p, offset := range found {
		if offset < 0 {
			found[p] = ends[p]
		}
	}
	return found, nil
}

// list asks all partitions in one request per broker, again while leaders are being elected.
func list(ctx context.Context, client *kgo.Client, topic string, at int64, isolation int8) (wire.Offsets, error) {
	for deadline := time.Now().Add(settleTime); ; {
		found, err := once(ctx, client, topic, at, isolation)
		if err == nil || !kerr.IsRetriable(err) || time.Now().After(deadline) || ctx.Err() != nil {
			return found, connect.Needs(err, "READ", "topic", topic)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func once(ctx context.Context, client *kgo.Client, topic string, at int64, isolation int8) (wire.Offsets, error) {
	count, err := partitions(ctx, client, topic)
	if err != nil {
		return nil, err
	}
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID, request.IsolationLevel = -1, isolation
	about := kmsg.NewListOffsetsRequestTopic()
	about.Topic = topic
	for p := range count {
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp, one.CurrentLeaderEpoch = p, at, -1
		about.Partitions = append(about.Partitions, one)
	}
	request.Topics = append(request.Topics, about)
	found := wire.Offsets{}
	for _, shard := range client.RequestSharded(ctx, request) {
		if shard.Err != nil {
			return nil, connect.Unreachable(shard.Err)
		}
		for _, answered := range shard.Resp.(*kmsg.ListOffsetsResponse).Topics {
			for _, one := range answered.Partitions {
				if err := kerr.ErrorForCode(one.ErrorCode); err != nil {
					return nil, fmt.Errorf("offsets of partition %d of %s: %w", one.Partition, topic, err)
				}
				found[one.Partition] = one.Offset
			}
		}
	}
	if len(found) != int(count) {
		return nil, fmt.Errorf("offsets of %d of %d partitions of %s: %w", len(found), count, topic, kerr.LeaderNotAvailable)
	}
	return found, nil
}

func partitions(ctx context.Context, client *kgo.Client, topic string) (int32, error) {
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, about)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return 0, connect.Unreachable(err)
	}
	if err := kerr.ErrorForCode(answer.Topics[0].ErrorCode); err != nil {
		return 0, fmt.Errorf("metadata of %s: %w", topic, err)
	}
	return int32(len(answer.Topics[0].Partitions)), nil
}

// Position is a committed offset and its metadata.
type Position struct {
	Offset   int64
	Metadata string
}

// Committed gives a group's stable positions on a topic, each as of a moment at which no transaction that writes it is pending.
func Committed(ctx context.Context, client *kgo.Client, group, topic string, topicID [16]byte) (map[int32]Position, error) {
	return CommittedOf(ctx, client, group, topic, topicID, nil)
}

// CommittedOf gives the stable positions of some partitions; what is pending on others does not matter. A busy mirror of many
// partitions has hardly a moment at which none is pending, so only those that are are asked for again.
func CommittedOf(ctx context.Context, client *kgo.Client, group, topic string, topicID [16]byte, partitions []int32) (map[int32]Position, error) {
	found := map[int32]Position{}
	for deadline := time.Now().Add(settleTime); ; {
		pending, err := committed(ctx, client, group, topic, topicID, partitions, true, found)
		if err == nil && len(pending) == 0 || err != nil && !kerr.IsRetriable(err) || ctx.Err() != nil {
			return found, connect.Needs(err, "READ", "group", group)
		}
		if late := time.Now().After(deadline); late && err != nil {
			return nil, err
		} else if late {
			return nil, wire.Faultf("hanging_transaction", "positions of group %s on %d partitions of %s stay undecided", group, len(pending), topic)
		}
		if err == nil {
			partitions = pending
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Decided gives the positions as they were last decided, whatever is pending.
func Decided(ctx context.Context, client *kgo.Client, group, topic string, topicID [16]byte) (map[int32]Position, error) {
	for deadline := time.Now().Add(settleTime); ; {
		found := map[int32]Position{}
		_, err := committed(ctx, client, group, topic, topicID, nil, false, found)
		if err == nil || !kerr.IsRetriable(err) || ctx.Err() != nil || time.Now().After(deadline) {
			return found, connect.Needs(err, "READ", "group", group)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// committed asks once, for some partitions or (nil) for all that the group has, adds what is known and says which are pending.
func committed(
	ctx context.Context, client *kgo.Client, group, topic string, topicID [16]byte, partitions []int32, stable bool, into map[int32]Position,
) (pending []int32, err error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.RequireStable, request.Group = stable, group
	about := kmsg.NewOffsetFetchRequestGroup()
	about.Group, about.MemberEpoch = group, -1
	if partitions != nil {
		one := kmsg.NewOffsetFetchRequestGroupTopic()
		one.Topic, one.TopicID, one.Partitions = topic, topicID, partitions
		about.Topics = append(about.Topics, one)
	}
	request.Groups = append(request.Groups, about)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, connect.Unreachable(err)
	}
	for _, one := range answer.Groups {
		if err := kerr.ErrorForCode(one.ErrorCode); errors.Is(err, kerr.GroupIDNotFound) {
			return nil, nil
		} else if err != nil {
			return nil, fmt.Errorf("positions of group %s: %w", group, err)
		}
		for _, about := range one.Topics {
			if about.Topic != topic && about.TopicID != topicID {
				continue
			}
			undecided, err := collect(about.Partitions, into)
			if err != nil {
				return nil, fmt.Errorf("positions of group %s: %w", group, err)
			}
			pending = append(pending, undecided...)
		}
	}
	return pending, nil
}

func collect(from []kmsg.OffsetFetchResponseGroupTopicPartition, into map[int32]Position) (pending []int32, err error) {
	for _, one := range from {
		if err := kerr.ErrorForCode(one.ErrorCode); errors.Is(err, kerr.UnstableOffsetCommit) {
			pending = append(pending, one.Partition)
			continue
		} else if err != nil {
			return nil, err
		}
		if one.Offset < 0 {
			continue
		}
		metadata := ""
		if one.Metadata != nil {
			metadata = *one.Metadata
		}
		into[one.Partition] = Position{Offset: one.Offset, Metadata: metadata}
	}
	return pending, nil
}
