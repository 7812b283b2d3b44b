// Package provenance is the header that a mirrored record carries: run, epoch, partition and offset of its origin.
package provenance

import (
	"encoding/binary"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Key of the header. Its value is 25 bytes: version 1, run (8), epoch (4), origin partition (4), origin offset (8), big-endian.
const (
	Key     = "_cutover"
	Size    = 25
	version = 1
)

// Origin is where a mirrored record came from.
type Origin struct {
	Run       [8]byte
	Epoch     uint32
	Partition int32
	Offset    int64
}

// Append encodes the origin at the end of to.
func (o Origin) Append(to []byte) []byte {
	to = append(to, version)
	to = append(to, o.Run[:]...)
	to = binary.BigEndian.AppendUint32(to, o.Epoch)
	to = binary.BigEndian.AppendUint32(to, uint32(o.Partition))
	return binary.BigEndian.AppendUint64(to, uint64(o.Offset))
}

// Decode reads a header's value; false when it is not of this form.
func Decode(value []byte) (Origin, bool) {
	var origin Origin
	if len(value) != Size || value[0] != version {
		return origin, false
	}
	copy(origin.Run[:], value[1:9])
	origin.Epoch = binary.BigEndian.Uint32(value[9:])
	origin.Partition = int32(binary.BigEndian.Uint32(value[13:]))
	origin.Offset = int64(binary.BigEndian.Uint64(value[17:]))
	return origin, true
}

// Is reports whether a header is provenance, ours or an earlier run's.
func Is(header kgo.RecordHeader) bool {
	return header.Key == Key && len(header.Value) == Size && header.Value[0] == version
}

// Of gives the provenance of a record: the last header of that form.
func Of(record *kgo.Record) (Origin, bool) {
	for i := len(record.Headers) - 1; i >= 0; i-- {
		if Is(record.Headers[i]) {
			return Decode(record.Headers[i].Value)
		}
	}
	return Origin{}, false
}
