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
	Run       wire.RunID `json:"r"`
	Epoch     uint32     `json:"e"`
	Start     int64      `json:"a"` // where the epoch began on this partition
	From      int64      `json:"f"` // first origin offset that the last transaction read here
	Lanes     int32      `json:"l"` // of the run: a former holder is fenced by its lane's transactional id, so the count is fixed
	Producers []int64    `json:"p"` // ids of the lane's producers, oldest first; the last one wrote this
}

// String is the form that is committed.
func (m Mark) String() string {
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // numbers and hexadecimal digits cannot fail to encode
	}
	return string(text)
}

// Parse reads a committed mark; false when the metadata is not ours. librdkafka ends metadata with a zero byte.
func Parse(metadata string) (Mark, bool) {
	var mark Mark
	if err := json.Unmarshal([]byte(strings.TrimRight(metadata, "\x00")), &mark); err != nil {
		return Mark{}, false
	}
	return mark, mark.Run != wire.RunID{}
}
