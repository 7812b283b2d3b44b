package translate

import "context"

// Scan reads ranges of follower partitions from their beginnings, all in parallel, and hands out each record in order; it
// ends where the range does or where the visitor has seen enough of the partition. It returns the number of rounds.
func Scan(ctx context.Context, log Log, ranges map[int32]Range, visit func(q int32, seen Seen) (enough bool)) (int, error) {
	at := map[int32]int64{}
	for q, within := range ranges {
		if within.From < within.Until {
			at[q] = within.From
		}
	}
	rounds := 0
	for ; len(at) > 0; rounds++ {
		pieces, err := log.Probe(ctx, at)
		if err != nil {
			return rounds, err
		}
		for q, from := range at {
			if hand(pieces[q], Range{from, ranges[q].Until}, func(seen Seen) bool { return visit(q, seen) }) {
				delete(at, q)
				continue
			}
			at[q] = pieces[q].Until
		}
	}
	return rounds, nil
}

// hand gives the records of a piece that lie in the range; true when the partition is done with.
func hand(piece Piece, within Range, visit func(Seen) bool) bool {
	for _, seen := range piece.Seen {
		if seen.At >= within.From && seen.At < within.Until && visit(seen) {
			return true
		}
	}
	return piece.Until >= within.Until
}

// FirstUnread gives, per follower partition, the origin offset of the first record at or after its position of each
// origin partition that has any there.
func FirstUnread(ctx context.Context, log Log, targets map[int32]Target) (map[int32]map[int32]int64, int, error) {
	first, ranges := map[int32]map[int32]int64{}, map[int32]Range{}
	for q, target := range targets {
		first[q], ranges[q] = map[int32]int64{}, target.Within
	}
	rounds, err := Scan(ctx, log, ranges, func(q int32, seen Seen) bool {
		if _, known := first[q][seen.Parent]; !known {
			first[q][seen.Parent] = seen.Origin
		}
		return len(first[q]) >= len(targets[q].Parents) && all(first[q], targets[q].Parents)
	})
	return first, rounds, err
}

func all(have map[int32]int64, wanted []int32) bool {
	for _, p := range wanted {
		if _, there := have[p]; !there {
			return false
		}
	}
	return true
}

// Least gives per origin partition the least of the first unread records; the fallback where no partition has one.
func Least(first map[int32]map[int32]int64, fallback map[int32]int64) map[int32]int64 {
	answer, seen := map[int32]int64{}, map[int32]bool{}
	for p, offset := range fallback {
		answer[p] = offset
	}
	for _, byParent := range first {
		for p, offset := range byParent {
			if !seen[p] || offset < answer[p] {
				answer[p], seen[p] = offset, true
			}
		}
	}
	return answer
}
