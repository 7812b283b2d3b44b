package translate

import "context"

// ReadAgain counts, per follower partition, the records at or past its answer that were read on the origin already. The
// search must have been for all parents.
func ReadAgain(ctx context.Context, log Log, found map[int32]Found, bounds map[int32]int64) (map[int32]int64, int, error) {
	counted, ranges := map[int32]int64{}, map[int32]Range{}
	for q, each := range found {
		counted[q], ranges[q] = 0, Range{each.Answer, each.ReadUntil}
	}
	rounds, err := Scan(ctx, log, ranges, func(q int32, seen Seen) bool {
		if seen.Origin < bounds[seen.Parent] {
			counted[q]++
		}
		return false
	})
	return counted, rounds, err
}

// ReadAgainOnOrigin counts, per origin partition, the records at or past its answer whose copies lie below the positions
// on the follower. It searches where those begin, then reads from there to the positions.
func ReadAgainOnOrigin(ctx context.Context, search, scan Log, targets map[int32]Target, positions, answer map[int32]int64, spans map[int32]Span) (map[int32]int64, int, error) {
	below := map[int32]Target{}
	for q, target := range targets {
		target.Within.Until = min(target.Within.Until, positions[q])
		below[q] = target
	}
	found, searched, err := Search(ctx, search, below, Goal{Bounds: answer, Spans: spans})
	if err != nil {
		return nil, searched, err
	}
	counted, ranges := map[int32]int64{}, map[int32]Range{}
	for p := range answer {
		counted[p] = 0
	}
	for q, each := range found {
		ranges[q] = Range{each.Answer, below[q].Within.Until}
	}
	scanned, err := Scan(ctx, scan, ranges, func(_ int32, seen Seen) bool {
		if seen.Origin >= answer[seen.Parent] {
			counted[seen.Parent]++
		}
		return false
	})
	return counted, searched + scanned, err
}
