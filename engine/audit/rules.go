package audit

import (
	"cutover/engine/audit/scan"
	"cutover/engine/partition"
	"cutover/engine/wire"
)

// rules say where a record belongs, on either side.
type rules struct {
	place       partition.Func
	nullKeys    partition.NullKeyPolicy
	emptyIsNull bool
	origins     int32
	followers   int32
}

func rulesOf(config wire.Audit) (rules, error) {
	place, err := partition.Place(config.Partitioner)
	if err != nil {
		return rules{}, wire.Faultf("bad_configuration", "%v", err)
	}
	policy, err := partition.ParseNullKeyPolicy(config.NullKeys)
	if err != nil {
		return rules{}, wire.Faultf("bad_configuration", "%v", err)
	}
	if config.Origin.Partitions < 1 || config.Follower.Partitions < 1 {
		return rules{}, wire.Faultf("bad_configuration", "both topics need at least one partition")
	}
	return rules{
		place: place, nullKeys: policy, emptyIsNull: partition.EmptyKeyIsRandom(config.Partitioner),
		origins: config.Origin.Partitions, followers: config.Follower.Partitions,
	}, nil
}

// decides reports whether the key alone says the partition.
func (r *rules) decides(record *scan.Record) bool {
	return record.Key != nil && (len(record.Key) > 0 || !r.emptyIsNull)
}

// follower gives the follower partition where the record of these coordinates belongs.
func (r *rules) follower(record *scan.Record, p int32, o int64) int32 {
	if r.decides(record) {
		return r.place(record.Key, r.followers)
	}
	return partition.NullKey(r.nullKeys, p, o, r.origins, r.followers)
}

// home gives the origin partition where a native record belongs; -1 where the key does not say.
func (r *rules) home(record *scan.Record) int32 {
	if r.decides(record) {
		return r.place(record.Key, r.origins)
	}
	return -1
}
