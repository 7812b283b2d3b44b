// Package position is what a lane writes beside each committed offset of its group: enough for a successor,
// the audit and a person to know what the commit stands for.
package position

import (
	"encoding/json"
	"strings"

	"cutover/engine/wire"
)

// Mark is the metadata of one committed position. The offset itself is the next origin offset to copy.
type Mark struct {
	Run       wire.RunID
	Epoch     uint32
	Start     int64   // where the epoch began on this partition
	From      int64   // first origin offset that the last transaction read here
	Lanes     int32   // of the run: a former holder is fenced by its lane's transactional id, so the count is fixed
	Placement string  // partitioner and policy for null keys: a successor with others would put keys elsewhere
	Producers []int64 // ids of the lane's producers, oldest first; the last one wrote this
	Forgotten int     // producers before those, for which there was no room
}

// mostBytes of metadata; brokers refuse 4,096 (offset.metadata.max.bytes).
const mostBytes = 4000

// written is the form that is committed: a producer id lasts for 32,766 transactions (six minutes of a busy lane), so
// all but the first are written as the step from the one before. That has room for about a week.
type written struct {
	Run       wire.RunID `json:"r"`
	Epoch     uint32     `json:"e"`
	Start     int64      `json:"a"`
	From      int64      `json:"f"`
	Lanes     int32      `json:"l"`
	Placement string     `json:"k"`
	Plain     []int64    `json:"p,omitempty"` // as they are; read, no longer written
	Steps     []int64    `json:"q,omitempty"`
	Forgotten int        `json:"o,omitempty"`
}

// String is the form that is committed; where there is no room the oldest producers are left out and counted.
func (m Mark) String() string {
	for {
		form := written{Run: m.Run, Epoch: m.Epoch, Start: m.Start, From: m.From, Lanes: m.Lanes, Placement: m.Placement,
			Steps: steps(m.Producers), Forgotten: m.Forgotten}
		text, err := json.Marshal(form)
		if err != nil {
			panic(err) // numbers and hexadecimal digits cannot fail to encode
		}
		if len(text) <= mostBytes {
			return string(text)
		}
		fewer := max(1, len(m.Producers)/16)
		m.Producers, m.Forgotten = m.Producers[fewer:], m.Forgotten+fewer
	}
}

func steps(ids []int64) []int64 {
	stepped, before := make([]int64, len(ids)), int64(0)
	for i, id := range ids {
		stepped[i], before = id-before, id
	}
	return stepped
}

func sums(stepped []int64) []int64 {
	ids, sum := make([]int64, len(stepped)), int64(0)
	for i, step := range stepped {
		sum += step
		ids[i] = sum
	}
	return ids
}

// Parse reads a committed mark; false when the metadata is not ours. librdkafka ends metadata with a zero byte.
func Parse(metadata string) (Mark, bool) {
	var form written
	if err := json.Unmarshal([]byte(strings.TrimRight(metadata, "\x00")), &form); err != nil {
		return Mark{}, false
	}
	mark := Mark{Run: form.Run, Epoch: form.Epoch, Start: form.Start, From: form.From, Lanes: form.Lanes, Placement: form.Placement, Producers: form.Plain, Forgotten: form.Forgotten}
	if form.Steps != nil {
		mark.Producers = sums(form.Steps)
	}
	return mark, mark.Run != wire.RunID{}
}
