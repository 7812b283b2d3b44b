package match

// begins reports whether entries before the first pair of a key may lack a counterpart because the ranges begin at no cut: of a key
// that was not matched yet, and on one side only, for the other began later.
func (m *Matcher) begins(key Number, of *alignment) bool {
	if _, begun := m.begun[key]; begun || !m.terms.Aligning {
		return false
	}
	return len(of.pairs) == 0 || of.pairs[0][Source] == 0 || of.pairs[0][Target] == 0
}

// classify says what each entry without a counterpart is, and gives those that must wait.
func (m *Matcher) classify(key Number, of *alignment, rule Rule) []lone {
	begins, scattered := m.begins(key, of), of.scattered()
	left := of.loners()
	if scattered {
		left = m.unordered(key, left)
	}
	var kept, blamed []lone
	for _, each := range left {
		ruling := rule(each.side, &each.entry)
		passed := !each.last && !scattered // the key's sequence went on: no counterpart can come in its place
		switch {
		case ruling == Skip, passed && each.entry.Flags&Later != 0:
		case ruling == Wait && !passed:
			kept = append(kept, each)
		case ruling == Doubt && !passed:
			m.counts.DoubtfulEnd++
		case begins && each.gap == 0 && each.entry.TimeMs <= m.verge():
			m.counts.DoubtfulStart++
		default:
			blamed = append(blamed, each)
		}
	}
	m.blameAll(key, of, blamed)
	return kept
}

// unordered matches by content alone what stands in several partitions of a side.
func (m *Matcher) unordered(key Number, left []lone) []lone {
	return joined(left, digestOf, func(source, target *lone) { m.matched(key, Source, &source.entry, &target.entry) })
}

func digestOf(of *lone) (any, bool) { return of.entry.Digest, true }

func stampOf(of *lone) (any, bool) { return of.entry.Stamp, of.entry.Stamp != 0 }

// joined tells the pairs of both sides that have the same mark, in order, and gives what is left over.
func joined(left []lone, mark func(*lone) (any, bool), tell func(source, target *lone)) []lone {
	waiting := map[any][]int{} // of the source
	gone := make([]bool, len(left))
	for i := range left {
		name, marked := mark(&left[i])
		switch {
		case !marked:
		case left[i].side == Source:
			waiting[name] = append(waiting[name], i)
		case len(waiting[name]) > 0:
			first := waiting[name][0]
			waiting[name] = waiting[name][1:]
			gone[first], gone[i] = true, true
			tell(&left[first], &left[i])
		}
	}
	var rest []lone
	for i := range left {
		if !gone[i] {
			rest = append(rest, left[i])
		}
	}
	return rest
}

// blameAll names the differences of one key.
func (m *Matcher) blameAll(key Number, of *alignment, left []lone) {
	if len(left) == 0 {
		return
	}
	tell := func(kind string) func(source, target *lone) {
		return func(source, target *lone) {
			m.blame(Finding{Kind: kind, Source: copied(&source.entry), Target: copied(&target.entry), key: key})
		}
	}
	left = joined(left, digestOf, tell(Reordered))
	left = joined(left, stampOf, tell(Changed))
	left = m.duplicates(key, of, left)
	gaps := exchanged(left)
	left = joined(left, func(each *lone) (any, bool) { return each.gap, gaps[each.gap] && !m.terms.Compacted }, tell(Changed))
	for i := range left {
		m.blameOne(Finding{Kind: OneSideOnly, key: key}, &left[i])
	}
}

// blameOne tells what one record alone shows; compaction explains it too.
func (m *Matcher) blameOne(found Finding, of *lone) {
	if m.terms.Compacted {
		m.counts.Compacted++
		return
	}
	if of.side == Source {
		found.Source = copied(&of.entry)
	} else {
		found.Target = copied(&of.entry)
	}
	m.blame(found)
}

// duplicates tells the records whose equal was matched before, on the same side.
func (m *Matcher) duplicates(key Number, of *alignment, left []lone) []lone {
	matched := [2]map[Number]Spot{{}, {}}
	for _, each := range of.pairs {
		for side, entries := range [][]Entry{of.source, of.target} {
			one := &entries[each[side]]
			matched[side][one.Digest] = Spot{one.Partition, one.Offset}
		}
	}
	var rest []lone
	for i := range left {
		each := &left[i]
		spot, is := matched[each.side][each.entry.Digest]
		if !is {
			spot, is = m.recent.find(each.side, each.entry.Digest)
		}
		switch {
		case is:
			m.blameOne(Finding{Kind: Duplicate, Earlier: &spot, key: key}, each)
		case each.entry.Flags&again != 0:
			m.blameOne(Finding{Kind: Duplicate, key: key}, each)
		default:
			rest = append(rest, *each)
		}
	}
	return rest
}

// exchanged gives the gaps between pairs in which both sides have equally many records, none of them stamped.
func exchanged(left []lone) map[int]bool {
	balance, stamped := map[int]int{}, map[int]bool{}
	for i := range left {
		balance[left[i].gap] += 1 - 2*int(left[i].side)
		stamped[left[i].gap] = stamped[left[i].gap] || left[i].entry.Stamp != 0
	}
	found := map[int]bool{}
	for gap, sum := range balance {
		found[gap] = sum == 0 && !stamped[gap]
	}
	return found
}
