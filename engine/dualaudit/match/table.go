package match

const (
	chunkNodes = 4096
	none       = int32(-1)
)

type node struct {
	entry Entry
	next  int32
}

// queues are the pending entries of one key, per side, oldest first.
type queues struct {
	head, tail [2]int32
	count      int32
	retry      int32 // aligned again when there are so many
}

// table holds the pending entries of all keys: nodes in chunks without pointers, so that the collector has nothing to walk.
type table struct {
	keys    map[Number]queues
	chunks  [][]node
	free    int32
	used    int32 // nodes ever handed out
	entries int
	later   int // of these past the range
}

func newTable() *table { return &table{keys: map[Number]queues{}, free: none} }

func (t *table) at(i int32) *node { return &t.chunks[i/chunkNodes][i%chunkNodes] }

func (t *table) allot(entry *Entry) int32 {
	i := t.free
	if i != none {
		t.free = t.at(i).next
	} else {
		i = t.used
		if int(i/chunkNodes) == len(t.chunks) {
			t.chunks = append(t.chunks, make([]node, chunkNodes))
		}
		t.used++
	}
	*t.at(i) = node{entry: *entry, next: none}
	return i
}

func emptyQueues() queues {
	return queues{head: [2]int32{none, none}, tail: [2]int32{none, none}, retry: alignEvery}
}

// add puts an entry at the end of its queue.
func (t *table) add(q *queues, side Side, entry *Entry) {
	i := t.allot(entry)
	if q.head[side] == none {
		q.head[side] = i
	} else {
		t.at(q.tail[side]).next = i
	}
	q.tail[side] = i
	q.count++
	t.entries++
	t.later += int(entry.Flags&Later) / int(Later)
}

// drop takes the head of a queue away.
func (t *table) drop(q *queues, side Side) {
	i := q.head[side]
	gone := t.at(i)
	q.head[side] = gone.next
	gone.next, t.free = t.free, i
	q.count--
	t.entries--
	t.later -= int(gone.entry.Flags&Later) / int(Later)
}

func (t *table) head(q *queues, side Side) *Entry { return &t.at(q.head[side]).entry }

func (q *queues) has(side Side) bool { return q.head[side] != none }

// list gives one queue as a slice.
func (t *table) list(q *queues, side Side) []Entry {
	var found []Entry
	for i := q.head[side]; i != none; i = t.at(i).next {
		found = append(found, t.at(i).entry)
	}
	return found
}

// remove takes a key and its entries out.
func (t *table) remove(key Number, q *queues) {
	for _, side := range []Side{Source, Target} {
		for q.has(side) {
			t.drop(q, side)
		}
	}
	delete(t.keys, key)
}

// put stores a key's queues back, or forgets the key when nothing is left.
func (t *table) put(key Number, q *queues) {
	if q.count == 0 {
		delete(t.keys, key)
		return
	}
	t.keys[key] = *q
}

// clear forgets everything and keeps the memory for what comes next.
func (t *table) clear() {
	clear(t.keys)
	t.free, t.used, t.entries, t.later = none, 0, 0, 0
}
