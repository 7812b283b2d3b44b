package translate

import (
	"fmt"
	"maps"
	"slices"

	"cutover/engine/partition"
	"cutover/engine/wire"
)

// Directions: within one epoch by its sides, across several by the topics of the pair. The source is the origin of even epochs, unless they say it.
const (
	OriginToFollower = "origin_to_follower"
	FollowerToOrigin = "follower_to_origin"
	SourceToTarget   = "source_to_target"
	TargetToSource   = "target_to_source"
)

// Epoch is one span of time with one primary, its origin. All but the last one of a request have ended, at the cut that its
// ends name, and the next one began there.
type Epoch struct {
	RunID         wire.RunID   `json:"run_id"`
	Epoch         uint32       `json:"epoch"`
	Group         string       `json:"group"` // of the mirror
	Origin        wire.Topic   `json:"origin"`
	Follower      wire.Topic   `json:"follower"`
	ProducerIDs   []int64      `json:"producer_ids"`   // of the lanes; empty: as the mirror's positions say
	Start         wire.Offsets `json:"start"`          // where the epoch began on the origin; absent: as the mirror's positions say
	FollowerStart wire.Offsets `json:"follower_start"` // where its mirror began to write; absent: the log start
	End           wire.Offsets `json:"end"`            // of an ended epoch, on its origin: nothing at or past it was mirrored
	FollowerEnd   wire.Offsets `json:"follower_end"`   // of an ended epoch
	FromSource    *bool        `json:"from_source"`    // whether its origin is the source; absent: in even epochs
	// Parents of each follower partition as found by an audit; absent: by the partition counts. An origin partition that
	// is met where it is not expected is searched for too.
	Parents map[int32][]int32 `json:"parents"`
}

// Request is the command translate.
type Request struct {
	Direction       string       `json:"direction"`
	Epochs          []Epoch      `json:"epochs"` // without a gap, the current one last
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

// Part is what one epoch made of a vector, and what that rests on.
type Part struct {
	Epoch       uint32       `json:"epoch"`
	Forward     bool         `json:"forward"`   // from its origin to its follower
	Given       wire.Offsets `json:"given"`     // the vector, within the epoch
	Positions   wire.Offsets `json:"positions"` // the equivalent one, within the epoch
	Mirror      wire.Offsets `json:"mirror"`    // of an ended epoch: its end
	Start       wire.Offsets `json:"start"`
	Begins      wire.Offsets `json:"begins"` // of the follower, as searched
	Ends        wire.Offsets `json:"ends"`   // of the follower, as searched
	ProducerIDs []int64      `json:"producer_ids"`
}

// Answer is the equivalent vector and what it is worth. What it rests on is told of the last epoch, and in Epochs of each.
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
	Epochs       []Part            `json:"epochs"`
	Rounds       int               `json:"rounds"`
	Requests     int64             `json:"requests"`
	Records      int64             `json:"records"` // of which provenance was read
	Bytes        int64             `json:"bytes"`
	Milliseconds float64           `json:"milliseconds"`
}

// check refuses a request that nobody can answer.
func (r *Request) check() error {
	bySides, byTopics := r.Direction == OriginToFollower || r.Direction == FollowerToOrigin, r.Direction == SourceToTarget || r.Direction == TargetToSource
	switch {
	case len(r.Epochs) == 0:
		return wire.Faultf("bad_command", "translate names no epoch")
	case !bySides && !byTopics:
		return wire.Faultf("bad_command", "direction %q is none of %s, %s, %s, %s", r.Direction, SourceToTarget, TargetToSource, OriginToFollower, FollowerToOrigin)
	case bySides && len(r.Epochs) > 1:
		return wire.Faultf("bad_command", "across %d epochs the direction is %s or %s", len(r.Epochs), SourceToTarget, TargetToSource)
	case r.Missing != "" && r.Missing != "earliest" && r.Missing != "latest":
		return wire.Faultf("bad_command", "missing %q is neither earliest nor latest", r.Missing)
	case r.Duplicates != "" && r.Duplicates != "count" && r.Duplicates != "skip":
		return wire.Faultf("bad_command", "duplicates %q is neither count nor skip", r.Duplicates)
	}
	for i := range r.Epochs {
		if epoch := &r.Epochs[i]; epoch.Origin.Partitions < 1 || epoch.Follower.Partitions < 1 || epoch.Group == "" {
			return wire.Faultf("bad_command", "epoch %d names no group or no partitions", epoch.Epoch)
		}
		if i > 0 {
			if err := follows(&r.Epochs[i-1], &r.Epochs[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// follows refuses an epoch that does not begin, on both topics, where the one before it ended.
func follows(before, epoch *Epoch) error {
	if epoch.Epoch <= before.Epoch {
		return wire.Faultf("bad_command", "epoch %d is given after epoch %d", epoch.Epoch, before.Epoch)
	}
	ended := map[wire.TopicID]wire.Offsets{before.Origin.ID: before.End, before.Follower.ID: before.FollowerEnd}
	for _, one := range []struct {
		topic wire.Topic
		start wire.Offsets
	}{{epoch.Origin, epoch.Start}, {epoch.Follower, epoch.FollowerStart}} {
		end, known := ended[one.topic.ID]
		if !known {
			return wire.Faultf("bad_command", "%s of epoch %d is no topic of epoch %d", one.topic.Name, epoch.Epoch, before.Epoch)
		}
		if len(end) != int(one.topic.Partitions) || !maps.Equal(end, one.start) {
			return wire.Faultf("bad_command", "epoch %d does not begin on %s where epoch %d ended", epoch.Epoch, one.topic.Name, before.Epoch)
		}
	}
	return nil
}

// forward says whether an epoch is crossed from its origin to its follower.
func (r *Request) forward(epoch *Epoch) bool {
	switch r.Direction {
	case OriginToFollower:
		return true
	case FollowerToOrigin:
		return false
	}
	first := &r.Epochs[0]
	source := first.Origin.ID
	if !first.fromSource() {
		source = first.Follower.ID
	}
	return (epoch.Origin.ID == source) == (r.Direction == SourceToTarget)
}

func (e *Epoch) fromSource() bool {
	if e.FromSource != nil {
		return *e.FromSource
	}
	return e.Epoch%2 == 0
}

func (e *Epoch) parents(q int32) []int32 {
	if e.Parents != nil {
		return e.Parents[q]
	}
	return partition.Lineage{OriginCount: e.Origin.Partitions, FollowerCount: e.Follower.Partitions}.Parents(q)
}

// complete fills missing positions; it refuses what nobody decided.
func (r *Request) complete(topic wire.Topic, begins, stable, high wire.Offsets) (wire.Offsets, error) {
	given := wire.Offsets{}
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
		return nil, wire.Faultf("position_missing", "the group has no position on %d of %d partitions of %s: say earliest or latest", len(missing), topic.Partitions, topic.Name).
			With(map[string]any{"topic": topic.Name, "partitions": missing})
	}
	return given, r.fits(topic, high)
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

// accept refuses to go on past lost offsets until that is acknowledged.
func (r *Request) accept(topic wire.Topic, lost wire.Offsets) error {
	if len(lost) == 0 || r.AcknowledgeLost {
		return nil
	}
	sum := int64(0)
	for _, offsets := range lost {
		sum += offsets
	}
	return wire.Faultf("below_log_start", "%d partitions of %s: the group's positions lie below the log start; %d offsets are lost to it already", len(lost), topic.Name, sum).
		With(map[string]any{"topic": topic.Name, "lost": numbered(lost)})
}

// numbered makes offsets a field of a fault.
func numbered(from wire.Offsets) map[string]any {
	fields := map[string]any{}
	for p, offset := range from {
		fields[fmt.Sprint(p)] = offset
	}
	return fields
}
