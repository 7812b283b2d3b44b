package partition

// Router gives the follower partition of any record of an origin: by its key where the key decides, else by policy.
type Router struct {
	place                      Func
	emptyIsRandom              bool
	policy                     NullKeyPolicy
	originCount, followerCount int32
}

// NewRouter takes a family, the policy for records without a key, and both partition counts.
func NewRouter(family, nullKeys string, originCount, followerCount int32) (Router, error) {
	place, err := Place(family)
	if err != nil {
		return Router{}, err
	}
	policy, err := ParseNullKeyPolicy(nullKeys)
	if err != nil {
		return Router{}, err
	}
	return Router{place, EmptyKeyIsRandom(family), policy, originCount, followerCount}, nil
}

// Decides reports whether the key alone says where a record goes.
func (r Router) Decides(key []byte) bool {
	return key != nil && (len(key) > 0 || !r.emptyIsRandom)
}

// Target gives the follower partition of one origin record.
func (r Router) Target(key []byte, originPartition int32, originOffset int64) int32 {
	if r.Decides(key) {
		return r.place(key, r.followerCount)
	}
	return NullKey(r.policy, originPartition, originOffset, r.originCount, r.followerCount)
}
