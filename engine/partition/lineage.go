package partition

// A Lineage says how the partitions of an origin topic and of its follower relate, for every formula hash(key) % count.
type Lineage struct {
	OriginCount, FollowerCount int32
}

// Nested says whether each follower partition has exactly one parent.
func (l Lineage) Nested() bool { return l.FollowerCount%l.OriginCount == 0 }

// Parents lists the origin partitions whose keys may land in this follower partition, ascending.
func (l Lineage) Parents(followerPartition int32) []int32 {
	return congruent(followerPartition, l.step(), l.OriginCount)
}

// Children lists the follower partitions where keys of this origin partition may land, ascending.
func (l Lineage) Children(originPartition int32) []int32 {
	return congruent(originPartition, l.step(), l.FollowerCount)
}

// step is what hash % N and hash % M share: the remainder by gcd(N, M), and nothing more.
func (l Lineage) step() int32 {
	a, b := l.OriginCount, l.FollowerCount
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

func congruent(partition, step, count int32) []int32 {
	found := make([]int32, 0, count/step)
	for p := partition % step; p < count; p += step {
		found = append(found, p)
	}
	return found
}
