package translate

import (
	"fmt"
	"maps"
	"slices"

	"cutover/engine/partition"
	"cutover/engine/wire"
)

// The two directions.
const (
	OriginToFollower = "origin_to_follower"
	FollowerToOrigin = "follower_to_origin"
)

// Epoch is one span of time with one primary, its origin.
type Epoch struct {
	RunID         wire.RunID   `json:"run_id"`
	Epoch         uint32       `json:"epoch"`
	Group         string       `json:"group"` // of the mirror
	Origin        wire.Topic   `json:"origin"`
	Follower      wire.Topic   `json:"follower"`
	ProducerIDs   []int64      `json:"producer_ids"`   // of the lanes; empty: as the mirror's positions say
	Start         wire.Offsets `json:"start"`          // where the epoch began on the origin; absent: as the mirror's positions say
	FollowerStart wire.Offsets `json:"follower_start"` // where its mirror began to write; absent: the log start
	// Parents of each follower partition as found by an audit; absent: by the partition counts. An origin partition that
	// is met where it is not expected is searched for too.
	Parents map[int32][]int32 `json:"parents"`
}

// Request is the command translate.
type Request struct {
	Direction       string       `json:"direction"`
	Epochs          []Epoch      `json:"epochs"` // the current one last; positions in ended ones are not answered yet
	Positions       wire.Offsets `json:"positions"`
	Missing         string       `json:"missing"`          // for partitions without a position: earliest, latest; empty: refuse
	AcknowledgeLost bool         `json:"acknowledge_lost"` // go on from the log start where a position lies below it
	Duplicates      string       `json:"duplicates"`       // count (default), skip
}

// Behind says how far the mirror must still come before a translation is final on an origin partition.
type Behind struct {
	Position int64 `json:"position"`
	Mirror   int64 `json:"mirror"` // -1: nothing is committed
}

// Answer is the equivalent vector and what it is worth.
type Answer struct {
	Positions    wire.Offsets      `json:"positions"`
	Given        wire.Offsets      `json:"given"` // the vector that was translated, with the missing filled and the lost clamped
	Final        bool              `json:"final"`
	Behind       map[int32]Behind  `json:"behind"`     // why it is not final, by origin partition
	Duplicates   wire.Offsets      `json:"duplicates"` // records that will be read again, by partition of the answer; null: not counted
	Lost         wire.Offsets      `json:"lost"`       // offsets below the log start, by partition, acknowledged
	Unproved     []int32           `json:"unproved"`   // follower partitions where records from before the log start may be missing
	Strange      map[int32][]int32 `json:"strange"`    // origin partitions met in follower partitions where none was expected
	Mirror       wire.Offsets      `json:"mirror"`     // the mirror's positions, read before the ends
	Start        wire.Offsets      `json:"start"`
	Begins       wire.Offsets      `json:"begins"` // of the follower, as searched
	Ends         wire.Offsets      `json:"ends"`   // of the follower, as searched
	ProducerIDs  []int64           `json:"producer_ids"`
	Rounds       int               `json:"rounds"`
	Requests     int64             `json:"requests"`
	Records      int64             `json:"records"` // of which provenance was read
	Bytes        int64             `json:"bytes"`
	Milliseconds float64           `json:"milliseconds"`
}

func (r *Request) epoch() (*Epoch, error) {
	switch {
	case len(r.Epochs) != 1:
		return nil, wire.Faultf("epochs_unsupported", "positions are translated within one epoch, %d were given", len(r.Epochs))
	case r.Direction != OriginToFollower && r.Direction != FollowerToOrigin:
		return nil, wire.Faultf("bad_command", "direction %q is neither %s nor %s", r.Direction, OriginToFollower, FollowerToOrigin)
	case r.Missing != "" && r.Missing != "earliest" && r.Missing != "latest":
		return nil, wire.Faultf("bad_command", "missing %q is neither earliest nor latest", r.Missing)
	case r.Duplicates != "" && r.Duplicates != "count" && r.Duplicates != "skip":
		return nil, wire.Faultf("bad_command", "duplicates %q is neither count nor skip", r.Duplicates)
	}
	epoch := &r.Epochs[0]
	if epoch.Origin.Partitions < 1 || epoch.Follower.Partitions < 1 || epoch.Group == "" {
		return nil, wire.Faultf("bad_command", "the epoch names no group or no partitions")
	}
	return epoch, nil
}

func (e *Epoch) parents(q int32) []int32 {
	if e.Parents != nil {
		return e.Parents[q]
	}
	return partition.Lineage{OriginCount: e.Origin.Partitions, FollowerCount: e.Follower.Partitions}.Parents(q)
}

// complete fills missing positions and puts lost ones at the log start; it refuses what nobody decided.
func (r *Request) complete(topic wire.Topic, begins, stable, high wire.Offsets) (given, lost wire.Offsets, err error) {
	given = wire.Offsets{}
	var missing []int32
	for p := range topic.Partitions {
		position, there := r.Positions[p]
		switch {
		case there:
			given[p] = position
		case r.Missing == "earliest":
			given[p] = begins[p]
		case r.Missing == "latest":
			given[p] = stable[p]
		default:
			missing = append(missing, p)
		}
	}
	if len(missing) > 0 {
		return nil, nil, wire.Faultf("position_missing", "the group has no position on %d of %d partitions of %s: say earliest or latest", len(missing), topic.Partitions, topic.Name).
			With(map[string]any{"topic": topic.Name, "partitions": missing})
	}
	if err := r.fits(topic, high); err != nil {
		return nil, nil, err
	}
	return given, expired(given, begins), nil
}

// fits refuses positions that the topic cannot have.
func (r *Request) fits(topic wire.Topic, high wire.Offsets) error {
	for _, p := range slices.Sorted(maps.Keys(r.Positions)) {
		position := r.Positions[p]
		switch {
		case p < 0 || p >= topic.Partitions:
			return wire.Faultf("bad_command", "%s has no partition %d", topic.Name, p)
		case position < 0 || position > high[p]:
			return wire.Faultf("position_beyond_end", "position %d on partition %d of %s lies outside the log, which ends at %d", position, p, topic.Name, high[p]).
				With(map[string]any{"topic": topic.Name, "partition": p, "position": position, "end": high[p]})
		}
	}
	return nil
}

// clamp puts lost positions at the log start once that is acknowledged.
func (r *Request) clamp(topic wire.Topic, given, lost, begins wire.Offsets) error {
	if len(lost) == 0 {
		return nil
	}
	if !r.AcknowledgeLost {
		sum := int64(0)
		for _, offsets := range lost {
			sum += offsets
		}
		return wire.Faultf("below_log_start", "%d partitions of %s: the group's positions lie below the log start; %d offsets are lost to it already", len(lost), topic.Name, sum).
			With(map[string]any{"topic": topic.Name, "lost": numbered(lost)})
	}
	for p := range lost {
		given[p] = begins[p]
	}
	return nil
}

// numbered makes offsets a field of a fault.
func numbered(from wire.Offsets) map[string]any {
	fields := map[string]any{}
	for p, offset := range from {
		fields[fmt.Sprint(p)] = offset
	}
	return fields
}
