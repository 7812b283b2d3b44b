package audit

import (
	"cmp"

	"cutover/engine/audit/scan"
	"cutover/engine/partition"
	"cutover/engine/wire"
)

// rules say where a record belongs, on either side.
type rules struct {
	native    formula
	copied    formula
	nullKeys  partition.NullKeyPolicy
	origins   int32
	followers int32
}

// formula is a partitioner.
type formula struct {
	name        string
	place       partition.Func
	emptyIsNull bool
}

func formulaOf(name string) (formula, error) {
	place, err := partition.Place(name)
	if err != nil {
		return formula{}, wire.Faultf("bad_configuration", "%v", err)
	}
	return formula{name: name, place: place, emptyIsNull: partition.EmptyKeyIsRandom(name)}, nil
}

func rulesOf(config wire.Audit) (rules, error) {
	copied, err := formulaOf(config.Partitioner)
	if err != nil {
		return rules{}, err
	}
	native, err := formulaOf(cmp.Or(config.OriginPartitioner, config.Partitioner))
	if err != nil {
		return rules{}, err
	}
	policy, err := partition.ParseNullKeyPolicy(config.NullKeys)
	if err != nil {
		return rules{}, wire.Faultf("bad_configuration", "%v", err)
	}
	if config.Origin.Partitions < 1 || config.Follower.Partitions < 1 {
		return rules{}, wire.Faultf("bad_configuration", "both topics need at least one partition")
	}
	return rules{
		native: native, copied: copied, nullKeys: policy,
		origins: config.Origin.Partitions, followers: config.Follower.Partitions,
	}, nil
}

// decides reports whether the key alone says the partition.
func (f *formula) decides(record *scan.Record) bool {
	return record.Key != nil && (len(record.Key) > 0 || !f.emptyIsNull)
}

// follower gives the follower partition where the record of these coordinates belongs.
func (r *rules) follower(record *scan.Record, p int32, o int64) int32 {
	if r.copied.decides(record) {
		return r.copied.place(record.Key, r.followers)
	}
	return partition.NullKey(r.nullKeys, p, o, r.origins, r.followers)
}

// home gives the origin partition where a native record belongs; -1 where the key does not say.
func (r *rules) home(record *scan.Record) int32 {
	if r.native.decides(record) {
		return r.native.place(record.Key, r.origins)
	}
	return -1
}
