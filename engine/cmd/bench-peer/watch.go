package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	sampleEvery = 10 * time.Millisecond
	latest      = -1
)

// Sample says how far a copy was at a moment.
type Sample struct {
	At        float64 `json:"at"`        // seconds since 1970
	Written   int64   `json:"written"`   // sum of the follower's high watermarks: records and transaction markers
	Committed int64   `json:"committed"` // sum of the group's positions
}

// watch samples a copy until all of the origin is committed; it keeps the samples that tell something new.
func watch(ctx context.Context, a asked) (any, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(a.bootstrap))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ticks := time.NewTicker(sampleEvery)
	defer ticks.Stop()
	for samples := []Sample(nil); ; {
		next, err := sample(ctx, client, a)
		if err != nil && !kerr.IsRetriable(err) {
			return nil, err
		}
		if last := len(samples) - 1; err == nil && (last < 0 || samples[last].Written != next.Written || samples[last].Committed != next.Committed) {
			samples = append(samples, next)
		}
		if next.Committed >= a.records {
			return samples, nil
		}
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func sample(ctx context.Context, client *kgo.Client, a asked) (Sample, error) {
	written, err := highWatermarks(ctx, client, a.follower, a.partitions)
	if err != nil {
		return Sample{}, err
	}
	at := float64(time.Now().UnixMicro()) / 1e6
	committed, err := positions(ctx, client, a.group)
	return Sample{at, written, committed}, err
}

func highWatermarks(ctx context.Context, client *kgo.Client, topic string, partitions int) (total int64, err error) {
	request := kmsg.NewPtrListOffsetsRequest()
	request.ReplicaID = -1
	about := kmsg.NewListOffsetsRequestTopic()
	about.Topic = topic
	for p := range partitions {
		one := kmsg.NewListOffsetsRequestTopicPartition()
		one.Partition, one.Timestamp, one.CurrentLeaderEpoch = int32(p), latest, -1
		about.Partitions = append(about.Partitions, one)
	}
	request.Topics = append(request.Topics, about)
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return 0, fmt.Errorf("offsets of %s: %w", topic, err)
	}
	for _, of := range answer.Topics {
		for _, one := range of.Partitions {
			if err := kerr.ErrorForCode(one.ErrorCode); err != nil {
				return 0, fmt.Errorf("offset of partition %d of %s: %w", one.Partition, topic, err)
			}
			total += one.Offset
		}
	}
	return total, nil
}

// positions sums what a group has committed; what a transaction has not ended yet does not count.
func positions(ctx context.Context, client *kgo.Client, group string) (total int64, err error) {
	request := kmsg.NewPtrOffsetFetchRequest()
	request.Group = group
	about := kmsg.NewOffsetFetchRequestGroup()
	about.Group, about.MemberEpoch = group, -1
	request.Groups = append(request.Groups, about) // without topics: all of them
	answer, err := request.RequestWith(ctx, client)
	if err != nil {
		return 0, fmt.Errorf("positions of %s: %w", group, err)
	}
	for _, one := range answer.Groups {
		if err := kerr.ErrorForCode(one.ErrorCode); err != nil {
			return 0, fmt.Errorf("positions of %s: %w", group, err)
		}
		for _, of := range one.Topics {
			for _, partition := range of.Partitions {
				total += max(0, partition.Offset)
			}
		}
	}
	return total, nil
}
