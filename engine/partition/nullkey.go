package partition

import "fmt"

// NullKeyPolicy says where a record without a key goes.
type NullKeyPolicy uint8

const (
	// KeepPartition keeps the number of the origin partition, modulo a smaller follower's count, and so the order within it.
	KeepPartition NullKeyPolicy = iota + 1
	// Spread deals the records out over the children of the origin partition.
	Spread
)

// ParseNullKeyPolicy reads the plan's word.
func ParseNullKeyPolicy(word string) (NullKeyPolicy, error) {
	switch word {
	case "keep_partition":
		return KeepPartition, nil
	case "spread":
		return Spread, nil
	}
	return 0, fmt.Errorf("policy for null keys %q is not known; known are keep_partition and spread", word)
}

// NullKey gives the follower partition of a record without a key. It depends on the record's coordinates alone: a re-copy lands where
// the first copy did.
func NullKey(policy NullKeyPolicy, originPartition int32, originOffset int64, originCount, followerCount int32) int32 {
	if policy != Spread {
		return originPartition % followerCount
	}
	step := Lineage{OriginCount: originCount, FollowerCount: followerCount}.step()
	child := int32(originOffset % int64(followerCount/step))
	return originPartition%step + child*step
}
