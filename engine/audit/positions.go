package audit

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/position"
	"cutover/engine/wire"
)

const (
	retryEvery  = 5 * time.Millisecond
	coordinator = 30 * time.Second // for a group's coordinator to answer
)

// committed is one position of a mirror's group.
type committed struct {
	offset int64
	mark   position.Mark
	ours   bool // the metadata is a mark
}

// positionsOf reads what a group has committed on a topic, without waiting for what is pending: a position counts from the moment
// its transaction was decided. The records of that transaction are then below the follower's high watermark, which is read next.
func positionsOf(ctx context.Context, client *kgo.Client, group string, topic wire.Topic) (map[int32]committed, error) {
	return patiently(ctx, client, group, topic, false)
}

// settledPositionsOf waits until nothing is pending. A busy mirror has nearly always something pending.
func settledPositionsOf(ctx context.Context, client *kgo.Client, group string, topic wire.Topic) (map[int32]committed, error) {
	return patiently(ctx, client, group, topic, true)
}

func patiently(ctx context.Context, client *kgo.Client, group string, topic wire.Topic, stable bool) (map[int32]committed, error) {
	for deadline := time.Now().Add(coordinator); ; {
		found, err := positionsOnce(ctx, client, group, topic, stable)
		if err == nil || !kerr.IsRetriable(err) || time.Now().After(deadline) {
			return found, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(retryEvery):
		}
	}
}

func positionsOnce(ctx context.Context, client *kgo.Client, group string, topic wire.Topic, stable bool) (map[int32]committed, error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group, request.RequireStable = group, stable
	asked := kmsg.NewOffsetFetchRequestGroup()
	asked.Group, asked.MemberEpoch = group, -1
	request.Groups = append(request.Groups, asked)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return nil, connect.Unreachable(err)
	}
	found := map[int32]committed{}
	for _, each := range answer.Groups {
		if err := kerr.ErrorForCode(each.ErrorCode); err != nil {
			return nil, fmt.Errorf("positions of group %s: %w", group, err)
		}
		for _, about := range each.Topics {
			if about.Topic != topic.Name && (about.Topic != "" || wire.TopicID(about.TopicID) != topic.ID) {
				continue
			}
			if err := collect(about.Partitions, found); err != nil {
				return nil, fmt.Errorf("positions of group %s: %w", group, err)
			}
		}
	}
	return found, nil
}

func collect(from []kmsg.OffsetFetchResponseGroupTopicPartition, into map[int32]committed) error {
	for _, each := range from {
		if err := kerr.ErrorForCode(each.ErrorCode); err != nil {
			return err
		}
		if each.Offset < 0 {
			continue
		}
		one := committed{offset: each.Offset}
		if each.Metadata != nil {
			// librdkafka's Python client sends the terminating zero of a C string along.
			one.mark, one.ours = position.Parse(*each.Metadata)
		}
		into[each.Partition] = one
	}
	return nil
}
