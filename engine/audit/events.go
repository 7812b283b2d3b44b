package audit

import "cutover/engine/wire"

// Kinds of violation. The words are the same in events, the command line and docs/audit.md.
const (
	Missing     = "missing"     // an origin record has no counterpart
	Phantom     = "phantom"     // a mirrored record names an origin record that is not there
	Changed     = "changed"     // key, value, headers or timestamp differ
	Unexamined  = "unexamined"  // stretches of the origin that differ; there were too many to read them record by record
	Duplicate   = "duplicate"   // an origin record has more than one counterpart
	Reordered   = "reordered"   // a counterpart stands behind one of a later origin record
	Swapped     = "swapped"     // two counterparts carry each other's provenance
	Misplaced   = "misplaced"   // a counterpart is in another partition than its key says
	Foreign     = "foreign"     // a follower record that no lane of this epoch wrote
	OffHash     = "off_hash"    // a native record in another partition than its key says
	Loop        = "loop"        // a record on the origin that a lane wrote
	Unexplained = "unexplained" // the sums differ and a second reading found no place
)

// Outcomes of a window, and of all windows so far.
const (
	Proved   = "proved"
	Unproved = "unproved"
	Violated = "violated"
)

// Progress says how far the reading is; once a second.
type Progress struct {
	Event            string  `json:"event"` // audit_progress
	AtMs             int64   `json:"at_ms"`
	Window           int64   `json:"window"`
	Phase            string  `json:"phase"` // reading, locating, watching
	OriginRecords    int64   `json:"origin_records"`
	FollowerRecords  int64   `json:"follower_records"`
	OffsetsDone      int64   `json:"offsets_done"` // of both sides
	OffsetsTotal     int64   `json:"offsets_total"`
	RecordsPerSecond float64 `json:"records_per_second"`
	EtaSeconds       float64 `json:"eta_seconds"` // -1: not known
	Standing         string  `json:"standing"`
}

// Bounds is what was judged: the origin from From to Until, the follower from FollowerFrom to FollowerUntil.
type Bounds struct {
	From          wire.Offsets `json:"from"`
	Until         wire.Offsets `json:"until"`
	FollowerFrom  wire.Offsets `json:"follower_from"`
	FollowerUntil wire.Offsets `json:"follower_until"`
}

// Pair is one origin partition and one follower partition.
type Pair struct {
	Origin          int32  `json:"origin"`
	Follower        int32  `json:"follower"`
	OriginRecords   int64  `json:"origin_records"`
	FollowerRecords int64  `json:"follower_records"`
	OriginLast      int64  `json:"origin_last"` // greatest origin offset; -1: none
	FollowerLast    int64  `json:"follower_last"`
	Equal           bool   `json:"equal"`
	Why             string `json:"why,omitempty"`
}

// Gap is what could not be judged.
type Gap struct {
	Side      string `json:"side"` // origin, follower
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	Until     int64  `json:"until"`
	Records   int64  `json:"records"` // of the other side, that have no counterpart to compare with
	Why       string `json:"why"`
}

// Coverage counts origin records: proved are those of pairs without a difference.
type Coverage struct {
	Expected int64 `json:"expected"`
	Proved   int64 `json:"proved"`
	Unproved int64 `json:"unproved"`
	Later    int64 `json:"later"` // follower records past the range, not judged now
	Gaps     []Gap `json:"gaps"`
}

// Shown is a key or value: its size and a fingerprint that means something only within this process, bytes only if asked for.
type Shown struct {
	Bytes       int    `json:"bytes"` // -1: none (a null key, a tombstone)
	Fingerprint string `json:"fingerprint,omitempty"`
	Data        []byte `json:"data,omitempty"` // base64, the first KiB
}

// Place is where a record stands, and what it holds where that is known.
type Place struct {
	Topic       string `json:"topic"`
	Partition   int32  `json:"partition"`
	Offset      int64  `json:"offset"`
	TimestampMs int64  `json:"timestamp_ms"`
	Key         *Shown `json:"key,omitempty"`
	Value       *Shown `json:"value,omitempty"`
}

// Sample is one violation and its place on both sides. Claims is the origin that a follower record names, if nothing else is known of it.
type Sample struct {
	Kind     string   `json:"kind"`
	Origin   *Place   `json:"origin,omitempty"`
	Follower *Place   `json:"follower,omitempty"`
	Expected *int32   `json:"expected_partition,omitempty"`
	Fields   []string `json:"fields,omitempty"`
	Why      string   `json:"why"`
}

// Verdict is what one window showed. Standing is the worst of all windows of this process: a violation sticks.
type Verdict struct {
	Event            string           `json:"event"` // verdict
	AtMs             int64            `json:"at_ms"`
	Window           int64            `json:"window"`
	Result           string           `json:"result"`
	Standing         string           `json:"standing"`
	Bounds           Bounds           `json:"bounds"`
	Pairs            []Pair           `json:"pairs"`
	PairsTotal       int              `json:"pairs_total"`
	PairsEqual       int              `json:"pairs_equal"`
	Coverage         Coverage         `json:"coverage"`
	Violations       map[string]int64 `json:"violations"`
	ViolationsExact  bool             `json:"violations_exact"` // false: at least so many
	Accepted         map[string]int64 `json:"accepted"`
	Stragglers       int64            `json:"stragglers"` // in this window, when they are reported
	Samples          []Sample         `json:"samples"`
	DigestFields     []string         `json:"digest_fields"`
	DigestNote       string           `json:"digest_note,omitempty"`
	RecordsRead      int64            `json:"records_read"`
	Seconds          float64          `json:"seconds"`
	RecordsPerSecond float64          `json:"records_per_second"` // read, both sides
	JudgedPerSecond  float64          `json:"judged_per_second"`  // origin records with their counterparts
}

// Straggler is a record on the follower, from where the epoch began, that no lane of the run wrote, whatever it says of itself.
type Straggler struct {
	Partition   int32 `json:"partition"`
	Offset      int64 `json:"offset"`
	TimestampMs int64 `json:"timestamp_ms"`
	ProducerID  int64 `json:"producer_id"` // -1: its producer is not idempotent
	Provenance  bool  `json:"provenance"`  // it carries the form of it
}

// Stragglers names those of one window, before its verdict; a window may have several of these.
type Stragglers struct {
	Event    string      `json:"event"` // stragglers
	AtMs     int64       `json:"at_ms"`
	Window   int64       `json:"window"`
	Topic    string      `json:"topic"`
	Records  []Straggler `json:"records"`
	Count    int64       `json:"count"`    // of the window
	Total    int64       `json:"total"`    // of all windows of this process
	Complete bool        `json:"complete"` // all of the window are named
}

// VerifiedCut says that below Origin and below Follower the records are the same. Exact: nothing below Follower belongs past Origin.
type VerifiedCut struct {
	Event    string       `json:"event"` // verified_cut
	AtMs     int64        `json:"at_ms"`
	Window   int64        `json:"window"`
	Origin   wire.Offsets `json:"origin"`
	Follower wire.Offsets `json:"follower"`
	Exact    bool         `json:"exact"`
}
