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

// byLane deals whole lanes to members. Kafka's group protocol elects who computes it and tells everybody, so any
// number of workers anywhere share the lanes without a coordinator of ours. Cooperative (KIP-429): lanes that stay
// where they are go on copying while a dead member is waited for. The lane count is part of the protocol's name: a
// worker that counts other lanes cannot join.
type byLane struct{ lanes int32 }

func (b byLane) ProtocolName() string { return fmt.Sprintf("cutover-lanes-%d", b.lanes) }
func (b byLane) IsCooperative() bool  { return true }

func (b byLane) JoinGroupMetadata(topics []string, current map[string][]int32, generation int32) []byte {
	metadata := kmsg.NewConsumerMemberMetadata()
	metadata.Version, metadata.Topics, metadata.Generation = 3, topics, generation
	for _, topic := range topics {
		owned := kmsg.NewConsumerMemberMetadataOwnedPartition()
		owned.Topic, owned.Partitions = topic, current[topic]
		metadata.OwnedPartitions = append(metadata.OwnedPartitions, owned)
	}
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

// Balance gives partition p to the holder of lane p mod lanes.
func (b byLane) Balance(balancer *kgo.ConsumerBalancer, topics map[string]int32) kgo.IntoSyncAssignment {
	members, byID, owners := b.read(balancer)
	plan := balancer.NewPlan()
	holders := deal(b.lanes, members, owners)
	for topic, count := range topics {
		for p := range count {
			plan.AddPartition(byID[holders[p%b.lanes]], topic, p)
		}
	}
	plan.AdjustCooperative(balancer)
	return plan
}

// read gives the members and who holds which lane now; of two claims the later generation's counts.
func (b byLane) read(balancer *kgo.ConsumerBalancer) ([]string, map[string]*kmsg.JoinGroupResponseMember, map[int32]string) {
	var members []string
	byID := map[string]*kmsg.JoinGroupResponseMember{}
	owners, claims := map[int32]string{}, map[int32]int32{}
	balancer.EachMember(func(member *kmsg.JoinGroupResponseMember, metadata *kmsg.ConsumerMemberMetadata) {
		members = append(members, member.MemberID)
		byID[member.MemberID] = member
		for _, owned := range metadata.OwnedPartitions {
			for _, p := range owned.Partitions {
				lane := p % b.lanes
				if claim, taken := claims[lane]; !taken || metadata.Generation > claim {
					owners[lane], claims[lane] = member.MemberID, metadata.Generation
				}
			}
		}
	})
	slices.Sort(members)
	return members, byID, owners
}

// deal spreads lanes evenly over members (counts differ by at most one) and moves as few as that allows.
func deal(lanes int32, members []string, owners map[int32]string) map[int32]string {
	holders, held := map[int32]string{}, map[string]int{}
	base, larger := int(lanes)/len(members), int(lanes)%len(members)
	for lane := range lanes {
		owner, owned := owners[lane]
		if !owned || !slices.Contains(members, owner) {
			continue
		}
		room := held[owner] < base
		if !room && held[owner] == base && larger > 0 {
			room, larger = true, larger-1
		}
		if room {
			holders[lane] = owner
			held[owner]++
		}
	}
	for lane := range lanes {
		if _, given := holders[lane]; given {
			continue
		}
		fewest := slices.MinFunc(members, func(a, b string) int { return held[a] - held[b] })
		holders[lane] = fewest
		held[fewest]++
	}
	return holders
}

// join makes this worker a member of the mirror's group. assigned is told the lanes it holds more from then on,
// revoked must let go of the lanes it is given before it returns.
func join(config wire.Mirror, assigned, revoked func([]int32)) (*kgo.Client, error) {
	letGo := func(_ context.Context, _ *kgo.Client, gone map[string][]int32) {
		revoked(lanesOf(gone[config.Origin.Name], config.Lanes))
	}
	return connect.Client(config.Connection, clientID(config, "member"),
		kgo.ConsumerGroup(config.Group), kgo.ConsumeTopics(config.Origin.Name), kgo.Balancers(byLane{config.Lanes}),
		kgo.SessionTimeout(sessionTimeout), kgo.HeartbeatInterval(heartbeat), kgo.RebalanceTimeout(rebalanceTimeout),
		kgo.DisableAutoCommit(),
		kgo.AdjustFetchOffsetsFn(fromNowhere),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, now map[string][]int32) {
			assigned(lanesOf(now[config.Origin.Name], config.Lanes))
		}),
		kgo.OnPartitionsRevoked(letGo), kgo.OnPartitionsLost(letGo))
}

// fromNowhere gives the membership client no partition to read at all: each lane reads with a client of its own.
func fromNowhere(context.Context, map[string]map[int32]kgo.Offset) (map[string]map[int32]kgo.Offset, error) {
	return nil, nil
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
