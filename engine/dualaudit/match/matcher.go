package match

import (
	"math"
	"sync"
)

const (
	alignEvery  = 256     // entries of a key that differs, before it is aligned in passing
	hopeless    = 1 << 17 // entries of a key that has nothing in common: no longer kept
	begunLimit  = 1 << 20 // keys of which it is remembered that they began
	neverBegan  = math.MaxInt64
	pendingHint = 1_000_000
)

// Terms say how it is matched.
type Terms struct {
	PendingLimit int // entries in memory; 0: a million
	SpillDir     string
	Aligning     bool  // nobody was held where the ranges begin
	PatienceMs   int64 // how far apart the two records of one write may be
	Compacted    bool  // a missing counterpart may have been compacted away
	Findings     *Findings
}

// Counts is what was matched so far.
type Counts struct {
	Pairs         int64 // at least one of the two within the range
	Pending       int64
	Waiting       int64 // of these within the range
	Spilled       int64 // of these on disk
	SpilledEver   int64
	DoubtfulStart int64
	DoubtfulEnd   int64
	Compacted     int64 // without a counterpart, on compacted topics
}

// Matcher takes the records of both sides; each side's records of a key in their order.
type Matcher struct {
	terms  Terms
	mu     sync.Mutex
	table  *table
	disk   *spill
	recent *recent
	begun  map[Number]struct{}
	first  [2]int64 // timestamp of the earliest record
	counts Counts
}

// New begins with nothing pending.
func New(terms Terms) *Matcher {
	if terms.PendingLimit <= 0 {
		terms.PendingLimit = pendingHint
	}
	return &Matcher{terms: terms, table: newTable(), recent: newRecent(), begun: map[Number]struct{}{}, first: [2]int64{neverBegan, neverBegan}}
}

// Began tells the timestamp of the first record of a partition.
func (m *Matcher) Began(side Side, timeMs int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.first[side] = min(m.first[side], timeMs)
}

// Take matches records of one side.
func (m *Matcher) Take(side Side, records []Keyed) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range records {
		m.take(records[i].Key, side, &records[i].Entry)
	}
	if m.table.entries > m.terms.PendingLimit {
		return m.spillAll()
	}
	return nil
}

// take matches an entry, unless earlier ones of its key wait on disk: then it waits behind them.
func (m *Matcher) take(key Number, side Side, entry *Entry) {
	if m.disk == nil || !m.disk.mayHold(key) {
		m.push(m.table, key, side, entry)
		return
	}
	q, there := m.table.keys[key]
	if !there {
		q = emptyQueues()
	}
	m.table.add(&q, side, entry)
	m.table.keys[key] = q
}

func (m *Matcher) push(into *table, key Number, side Side, entry *Entry) {
	q, there := into.keys[key]
	if !there {
		q = emptyQueues()
	}
	other := side.Other()
	if !q.has(side) && q.has(other) && into.head(&q, other).Digest == entry.Digest {
		m.matched(key, side, entry, into.head(&q, other))
		into.drop(&q, other)
		into.put(key, &q)
		return
	}
	if _, seen := m.recent.find(side, entry.Digest); seen {
		entry.Flags |= again
	}
	into.add(&q, side, entry)
	into.keys[key] = q
	if q.has(other) && q.count >= q.retry {
		m.settleKey(into, key, alwaysWait)
	}
}

func (m *Matcher) matched(key Number, side Side, entry, counterpart *Entry) {
	source, target := entry, counterpart
	if side == Target {
		source, target = counterpart, entry
	}
	if source.Flags&target.Flags&Later == 0 {
		m.counts.Pairs++
	}
	if !source.simultaneous(target) {
		m.blame(Finding{Kind: Changed, Source: copied(source), Target: copied(target), key: key})
	}
	m.recent.add(source, target)
	if m.terms.Aligning && len(m.begun) < begunLimit && source.TimeMs <= m.verge() {
		m.begun[key] = struct{}{}
	}
}

func copied(entry *Entry) *Entry {
	made := *entry
	return &made
}

// verge gives the end of the time in which a record may lack its counterpart because the ranges do not begin at a cut.
func (m *Matcher) verge() int64 {
	first := max(m.first[Source], m.first[Target])
	if first == neverBegan {
		first = min(m.first[Source], m.first[Target])
	}
	if first == neverBegan {
		return first
	}
	return first + m.terms.PatienceMs
}

func (m *Matcher) blame(found Finding) { m.terms.Findings.Add(found) }

// Counts gives what was matched so far.
func (m *Matcher) Counts() Counts {
	m.mu.Lock()
	defer m.mu.Unlock()
	told := m.counts
	if m.disk != nil {
		told.Spilled = m.disk.entries
	}
	told.Pending = int64(m.table.entries) + told.Spilled
	told.Waiting = told.Pending - int64(m.table.later)
	if m.disk != nil {
		told.Waiting -= m.disk.later
	}
	return told
}

// Oldest gives when the first of the pending entries was read; false: none is pending.
func (m *Matcher) Oldest() (int64, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	oldest := int64(math.MaxInt64)
	for _, q := range m.table.keys {
		for _, side := range []Side{Source, Target} {
			if q.has(side) {
				oldest = min(oldest, m.table.head(&q, side).SeenMs)
			}
		}
	}
	if m.disk != nil {
		oldest = min(oldest, m.disk.oldest)
	}
	return oldest, oldest != math.MaxInt64
}

// Astride counts the pairs with one record below the cut and the other not, among the last RecentPairs.
func (m *Matcher) Astride(below func(side Side, spot Spot) bool) int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.recent.astride(below)
}

// RecentPairs is how many pairs Astride can look back.
const RecentPairs = recentPairs

// Close gives the disk back.
func (m *Matcher) Close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.disk != nil {
		m.disk.close()
		m.disk = nil
	}
}

func (m *Matcher) spillAll() error {
	if m.disk == nil {
		m.disk = newSpill(m.terms.SpillDir, m.terms.PendingLimit)
	}
	m.counts.SpilledEver += int64(m.table.entries)
	for key, q := range m.table.keys {
		for _, side := range []Side{Source, Target} {
			for i := q.head[side]; i != none; i = m.table.at(i).next {
				if err := m.disk.write(key, side, &m.table.at(i).entry); err != nil {
					return err
				}
			}
		}
	}
	m.table.clear()
	return nil
}
