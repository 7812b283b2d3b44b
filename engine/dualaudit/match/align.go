package match

// alignment of two sequences of one key: pairs of indices, ascending on both sides.
type alignment struct {
	source, target []Entry
	pairs          [][2]int
}

// align is greedy: where the next two differ it skips on the side whose next record has no counterpart ahead or the farther one.
func align(source, target []Entry) alignment {
	made := alignment{source: source, target: target}
	ahead := [2]places{placesOf(source), placesOf(target)}
	for i, j := 0, 0; i < len(source) && j < len(target); {
		if source[i].Digest == target[j].Digest {
			made.pairs = append(made.pairs, [2]int{i, j})
			i, j = i+1, j+1
			continue
		}
		inTarget, inSource := ahead[Target].from(source[i].Digest, j), ahead[Source].from(target[j].Digest, i)
		switch {
		case inTarget < 0 && inSource < 0:
			i, j = i+1, j+1
		case inTarget < 0 || (inSource >= 0 && inSource-i <= inTarget-j):
			i++
		default:
			j++
		}
	}
	return made
}

// places are the indices of each digest, ascending.
type places map[Number][]int

func placesOf(entries []Entry) places {
	found := make(places, len(entries))
	for i := range entries {
		found[entries[i].Digest] = append(found[entries[i].Digest], i)
	}
	return found
}

// from gives the first index at or past i; -1: none. It is asked with ascending i only.
func (p places) from(digest Number, i int) int {
	left := p[digest]
	for len(left) > 0 && left[0] < i {
		left = left[1:]
	}
	if len(left) == 0 {
		delete(p, digest)
		return -1
	}
	p[digest] = left
	return left[0]
}

// lone is an entry without a counterpart in the alignment.
type lone struct {
	side  Side
	entry Entry
	gap   int  // number of pairs before it
	last  bool // no pair follows
}

// loners gives what the pairs leave over, the source's first.
func (a *alignment) loners() []lone {
	var found []lone
	for side, entries := range [][]Entry{a.source, a.target} {
		gap := 0
		for i := range entries {
			if gap < len(a.pairs) && a.pairs[gap][side] == i {
				gap++
				continue
			}
			found = append(found, lone{side: Side(side), entry: entries[i], gap: gap, last: gap == len(a.pairs)})
		}
	}
	return found
}

// scattered reports that a side has the key in more than one partition, where offsets give no order.
func (a *alignment) scattered() bool {
	for _, entries := range [][]Entry{a.source, a.target} {
		for i := range entries {
			if entries[i].Partition != entries[0].Partition {
				return true
			}
		}
	}
	return false
}
