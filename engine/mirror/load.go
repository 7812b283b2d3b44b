package mirror

import (
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/provenance"
)

const keptCapacity = 16 << 20 // buffers above this are given back to the runtime after a commit

// loadBytes is the size at which a transaction is closed: lanes share what a worker may hold, two loads each.
func loadBytes(lanes int32) int64 { return int64(min(4<<20, max(512<<10, (32<<20)/int(lanes)))) }

// span is what a load took from one origin partition: from the first offset read to the next one to read.
type span struct{ from, next int64 }

// load is one transaction in the making: batches per follower partition and how far each origin partition was read.
type load struct {
	queues  map[int32][]*batch // follower partition to its batches, in order
	spans   map[int32]span     // origin partition to what was read of it
	limit   int                // bytes of a batch before compression
	free    []*batch
	records int64
	bytes   int64
	foreign int64
	newest  int64 // greatest record timestamp, milliseconds
}

// newLoad makes batches that a topic of this max.message.bytes (0: not known) takes, each record alone perhaps excepted.
func newLoad(maxMessageBytes int32) *load {
	limit := batchBytes
	if maxMessageBytes > 0 {
		limit = min(limit, int(maxMessageBytes))
	}
	return &load{queues: map[int32][]*batch{}, spans: map[int32]span{}, limit: limit}
}

// add puts one record behind those that go to the same follower partition.
func (l *load) add(record *kgo.Record, to int32, origin provenance.Origin) {
	size, codec := roughSize(record), int16(record.Attrs.CompressionType())
	queue := l.queues[to]
	var open *batch
	if len(queue) > 0 {
		open = queue[len(queue)-1]
	}
	if open == nil || !open.fits(size, codec, l.limit) {
		open = l.fresh()
		open.reset(to, codec)
		l.queues[to] = append(queue, open)
	}
	before := len(open.Bytes)
	l.foreign += open.add(record, origin)
	l.bytes += int64(len(open.Bytes) - before)
	l.records++
	l.newest = max(l.newest, millis(record))
}

func (l *load) fresh() *batch {
	if n := len(l.free); n > 0 {
		taken := l.free[n-1]
		l.free = l.free[:n-1]
		return taken
	}
	return &batch{}
}

// read notes that an origin partition was read from one offset up to before the next.
func (l *load) read(partition int32, from, next int64) {
	if seen, ok := l.spans[partition]; ok {
		from = seen.from
	}
	l.spans[partition] = span{from, next}
}

func (l *load) empty() bool { return len(l.spans) == 0 }

// clear makes the load ready for the next transaction, keeping buffers while they are few.
func (l *load) clear() {
	capacity := 0
	for _, queue := range l.queues {
		for _, used := range queue {
			capacity += cap(used.Bytes)
			l.free = append(l.free, used)
		}
	}
	for _, unused := range l.free {
		capacity += cap(unused.Bytes)
	}
	if capacity > keptCapacity {
		l.free = nil
	}
	clear(l.queues)
	clear(l.spans)
	l.records, l.bytes, l.foreign, l.newest = 0, 0, 0, 0
}

// rounds gives the batches to send one round after another: at most one per partition in each.
func (l *load) rounds() [][]*batch {
	var rounds [][]*batch
	for _, queue := range l.queues {
		for i, one := range queue {
			if i == len(rounds) {
				rounds = append(rounds, nil)
			}
			rounds[i] = append(rounds[i], one)
		}
	}
	return rounds
}
