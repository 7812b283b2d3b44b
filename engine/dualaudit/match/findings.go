package match

import (
	"maps"
	"sync"
)

// Kinds of difference. The words are the same in events, the command line and docs/audit.md.
const (
	OneSideOnly = "one_side_only" // a record without a counterpart
	Duplicate   = "duplicate"     // an equal record of the same key stands before it, and has the counterpart
	Reordered   = "reordered"     // its counterpart stands elsewhere in the order of the key
	Changed     = "changed"       // its counterpart differs
	OffHash     = "off_hash"      // it is not where its key says
	Unstamped   = "unstamped"     // stamps are required and it has none
)

const openLimit = 50_000 // differences whose counterpart may still turn up

// Finding is one difference and its place on both sides, as far as there is one.
type Finding struct {
	Kind     string
	Source   *Entry
	Target   *Entry
	Earlier  *Spot // of a duplicate: where the record with the counterpart stands
	Expected int32 // of one off its hash
	key      Number
}

// On gives the record of a side; nil: none.
func (f *Finding) On(side Side) *Entry {
	if side == Source {
		return f.Source
	}
	return f.Target
}

type claim struct {
	key, digest Number
	side        Side
}

// Findings counts differences by kind and keeps the first of each.
type Findings struct {
	mu      sync.Mutex
	counts  map[string]int64
	samples map[string][]*Finding
	open    map[claim]*Finding
	limit   int
	inexact bool
}

// NewFindings keeps so many samples of a kind.
func NewFindings(limit int) *Findings {
	return &Findings{counts: map[string]int64{}, samples: map[string][]*Finding{}, open: map[claim]*Finding{}, limit: limit}
}

// Add counts a finding. A record on one side only whose equal turned up on the other is one finding with it: the order differs.
func (f *Findings) Add(found Finding) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if found.Kind == OneSideOnly && f.joined(&found) {
		return
	}
	f.counts[found.Kind]++
	if len(f.samples[found.Kind]) < f.limit {
		f.samples[found.Kind] = append(f.samples[found.Kind], &found)
	}
	if found.Kind == OneSideOnly {
		f.leaveOpen(&found)
	}
}

func (f *Findings) leaveOpen(found *Finding) {
	if len(f.open) >= openLimit {
		f.inexact = true
		return
	}
	f.open[claimOf(found, false)] = found
}

// claimOf names a finding by its own record, or by the one that would be its counterpart.
func claimOf(found *Finding, counterpart bool) claim {
	side := Source
	if found.Source == nil {
		side = Target
	}
	at := claim{key: found.key, digest: found.On(side).Digest, side: side}
	if counterpart {
		at.side = side.Other()
	}
	return at
}

func (f *Findings) joined(found *Finding) bool {
	at := claimOf(found, true)
	other, there := f.open[at]
	if !there {
		return false
	}
	delete(f.open, at)
	f.withdraw(other)
	whole := Finding{Kind: Reordered, Source: other.Source, Target: other.Target, key: other.key}
	if whole.Source == nil {
		whole.Source = found.Source
	} else {
		whole.Target = found.Target
	}
	f.counts[Reordered]++
	if len(f.samples[Reordered]) < f.limit {
		f.samples[Reordered] = append(f.samples[Reordered], &whole)
	}
	return true
}

func (f *Findings) withdraw(gone *Finding) {
	if f.counts[OneSideOnly]--; f.counts[OneSideOnly] == 0 {
		delete(f.counts, OneSideOnly)
	}
	kept := f.samples[OneSideOnly][:0]
	for _, each := range f.samples[OneSideOnly] {
		if each != gone {
			kept = append(kept, each)
		}
	}
	f.samples[OneSideOnly] = kept
}

// Counts gives the differences by kind, and whether these are all.
func (f *Findings) Counts() (map[string]int64, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return maps.Clone(f.counts), !f.inexact
}

// Samples gives the first findings of each kind.
func (f *Findings) Samples() []*Finding {
	f.mu.Lock()
	defer f.mu.Unlock()
	var found []*Finding
	for _, kind := range []string{OneSideOnly, Duplicate, Reordered, Changed, OffHash, Unstamped} {
		found = append(found, f.samples[kind]...)
	}
	return found
}
