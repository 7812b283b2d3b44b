// Package match pairs the records of two topics key by key and says what has no counterpart. It knows nothing of Kafka.
//
// Memory holds only what is unmatched: entries wait in a queue per side and key, and when the heads of both sides are equal both
// vanish (table.go). Where they differ the key is kept and aligned later (align.go). What does not fit is written to disk (spill.go).
package match

// Number is an unsigned 128-bit hash.
type Number struct{ High, Low uint64 }

// Side is one of the two topics.
type Side uint8

// The two sides.
const (
	Source Side = iota
	Target
)

// Other gives the side against which this one is compared.
func (s Side) Other() Side { return 1 - s }

// Flags of an entry.
const (
	Untimed uint8 = 1 << iota // the broker set the timestamp
	Later                     // past the range: it only serves as a counterpart
	again                     // an equal record was matched before
)

// Entry is what is kept of a record.
type Entry struct {
	Digest    Number // of key, value and headers
	Stamp     uint64 // hash of the stamp; 0: none
	Offset    int64
	TimeMs    int64
	SeenMs    int64 // when it was read
	Producer  int64
	Partition int32
	Flags     uint8
}

// Keyed is an entry and the key in whose sequence it stands. A record without a key has a sequence of its own.
type Keyed struct {
	Key   Number
	Entry Entry
}

// simultaneous compares timestamps, where both are of one call of a producer that stamps.
func (e *Entry) simultaneous(other *Entry) bool {
	return e.Stamp == 0 || other.Stamp == 0 || (e.Flags|other.Flags)&Untimed != 0 || e.TimeMs == other.TimeMs
}
