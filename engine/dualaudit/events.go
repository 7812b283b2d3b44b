package dualaudit

import (
	"cutover/engine/audit"
	"cutover/engine/wire"
)

// Progress says how far the reading is; once a second.
type Progress struct {
	Event            string  `json:"event"` // dual_progress
	AtMs             int64   `json:"at_ms"`
	Window           int64   `json:"window"`
	Phase            string  `json:"phase"` // reading, settling, watching
	SourceRecords    int64   `json:"source_records"`
	TargetRecords    int64   `json:"target_records"`
	OffsetsDone      int64   `json:"offsets_done"` // of both sides
	OffsetsTotal     int64   `json:"offsets_total"`
	RecordsPerSecond float64 `json:"records_per_second"`
	EtaSeconds       float64 `json:"eta_seconds"` // -1: not known
	Doubtful         int64   `json:"doubtful"`    // without a counterpart so far
	Spilled          int64   `json:"spilled"`     // of these on disk
	Standing         string  `json:"standing"`
}

// Bounds is what was judged.
type Bounds struct {
	SourceFrom  wire.Offsets `json:"source_from"`
	SourceUntil wire.Offsets `json:"source_until"`
	TargetFrom  wire.Offsets `json:"target_from"`
	TargetUntil wire.Offsets `json:"target_until"`
}

// Gap is what could not be judged.
type Gap struct {
	Side      string `json:"side"` // source, target
	Topic     string `json:"topic"`
	Partition int32  `json:"partition"`
	From      int64  `json:"from"`
	Until     int64  `json:"until"`
	Records   int64  `json:"records"` // that have nothing to be compared with
	Why       string `json:"why"`
}

// Coverage counts records; Matched are pairs.
type Coverage struct {
	SourceRecords int64 `json:"source_records"`
	TargetRecords int64 `json:"target_records"`
	Matched       int64 `json:"matched"`
	DoubtfulStart int64 `json:"doubtful_start"` // before the first pair of their key, where the ranges begin at no cut: not of the range
	Doubtful      int64 `json:"doubtful"`       // their counterparts may lie past what was read
	Gaps          []Gap `json:"gaps"`
}

// Sample is one difference and its place on both sides, as far as there is one.
type Sample struct {
	Kind       string       `json:"kind"`
	Source     *audit.Place `json:"source,omitempty"`
	Target     *audit.Place `json:"target,omitempty"`
	Expected   *int32       `json:"expected_partition,omitempty"`
	Fields     []string     `json:"fields,omitempty"`
	Stamp      string       `json:"stamp,omitempty"` // of the writer, where there is one
	ProducerID int64        `json:"producer_id"`     // -1: its producer is not idempotent
	Why        string       `json:"why"`
}

// Verdict is what everything read so far showed. A violation sticks.
type Verdict struct {
	Event            string           `json:"event"` // dual_verdict
	AtMs             int64            `json:"at_ms"`
	Window           int64            `json:"window"`
	Result           string           `json:"result"`
	Standing         string           `json:"standing"`
	Bounds           Bounds           `json:"bounds"`
	Coverage         Coverage         `json:"coverage"`
	Violations       map[string]int64 `json:"violations"`
	ViolationsExact  bool             `json:"violations_exact"` // false: at least so many
	Accepted         map[string]int64 `json:"accepted"`
	Samples          []Sample         `json:"samples"`
	Spilled          int64            `json:"spilled"` // records that had to wait on disk
	RecordsRead      int64            `json:"records_read"`
	Seconds          float64          `json:"seconds"`
	RecordsPerSecond float64          `json:"records_per_second"` // read, both sides
}
