package mirror

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/wire"
)

const (
	sessionTimeout   = 6 * time.Second // the least that brokers allow by default
	heartbeat        = time.Second
	rebalanceTimeout = 10 * time.Second
)

// byLane deals whole lanes to members in turn. Kafka's group protocol elects who computes it and tells everybody,
// so any number of workers anywhere share the lanes without a coordinator of ours. The lane count is part of the
// protocol's name: a worker that counts other lanes cannot join.
type byLane struct{ lanes int32 }

func (b byLane) ProtocolName() string { return fmt.Sprintf("cutover-lanes-%d", b.lanes) }
func (b byLane) IsCooperative() bool  { return false }

func (b byLane) JoinGroupMetadata(topics []string, _ map[string][]int32, _ int32) []byte {
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Topics = topics
	return metadata.AppendTo(nil)
}

func (b byLane) ParseSyncAssignment(assignment []byte) (map[string][]int32, error) {
	return kgo.ParseConsumerSyncAssignment(assignment)
}

func (b byLane) MemberBalancer(members []kmsg.JoinGroupResponseMember) (kgo.GroupMemberBalancer, map[string]struct{}, error) {
	balancer, err := kgo.NewConsumerBalancer(b, members)
	if err != nil {
		return nil, nil, err
	}
	return balancer, balancer.MemberTopics(), nil
}

// Balance deals partition p to the member of lane p mod lanes.
func (b byLane) Balance(balancer *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	plan := balancer.NewPlan()
	members := balancer.Members()
	for topic, count := range topics {
		for p := range count {
			plan.AddPartition(&members[int(p%b.lanes)%len(members)], topic, p)
		}
	}
	return plan
}

// join makes this worker a member of the mirror's group. assigned is told the lanes it holds from then on, revoked
// is asked to let go of all of them before it returns.
func join(config wire.Mirror, assigned func([]int32), revoked func()) (*kgo.Client, error) {
	letGo := func(context.Context, *kgo.Client, map[string][]int32) { revoked() }
	client, err := connect.Client(config.Connection, clientID(config, "member"),
		kgo.ConsumerGroup(config.Group), kgo.ConsumeTopics(config.Origin.Name), kgo.Balancers(byLane{config.Lanes}),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeat), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.AdjustFetchOffsetsFn(fromNowhere),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, now map[string][]int32) {
			assigned(lanesOf(now[config.Origin.Name], config.Lanes))
		}),
		kgo.OnPartitionsRevoked(letGo), kgo.OnPartitionsLost(letGo))
	if err != nil {
		return nil, err
	}
	client.PauseFetchTopics(config.Origin.Name) // membership only: each lane reads with a client of its own
	return client, nil
}

// fromNowhere gives the membership client a position for every partition, so that it asks for none; it never reads.
func fromNowhere(_ context.Context, asked map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	for _, partitions := range asked {
		for p := range partitions {
			partitions[p] = kgo.NewOffset().At(0)
		}
	}
	return asked, nil
}

func lanesOf(partitions []int32, lanes int32) []int32 {
	var held []int32
	for _, p := range partitions {
		if lane := p % lanes; !slices.Contains(held, lane) {
			held = append(held, lane)
		}
	}
	slices.Sort(held)
	return held
}
