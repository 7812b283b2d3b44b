package mirror

import (
	"fmt"
	"testing"
)

func TestLanesAreDealtEvenlyAndMovedAsLittleAsThatAllows(t *testing.T) {
	for lanes := int32(1); lanes <= 12; lanes++ {
		for count := 1; count <= 6; count++ {
			members := make([]string, count)
			for i := range members {
				members[i] = fmt.Sprintf("m%d", i)
			}
			first := deal(lanes, members, nil)
			even(t, lanes, members, first)
			if moved := differing(first, deal(lanes, members, first)); moved != 0 {
				t.Errorf("%d lanes, %d members: %d moved though nothing changed", lanes, count, moved)
			}
			fewer := deal(lanes, members[:max(1, count-1)], first)
			even(t, lanes, members[:max(1, count-1)], fewer)
			for lane, holder := range first {
				if holder != members[count-1] && fewer[lane] != holder && count > 1 {
					t.Errorf("%d lanes, %d members: lane %d moved from a member that stayed", lanes, count, lane)
				}
			}
		}
	}
}

func even(t *testing.T, lanes int32, members []string, holders map[int32]string) {
	t.Helper()
	held := map[string]int{}
	for lane := range lanes {
		held[holders[lane]]++
	}
	for _, member := range members {
		if low := int(lanes) / len(members); held[member] < low || held[member] > low+1 {
			t.Errorf("%d lanes, %d members: %s holds %d", lanes, len(members), member, held[member])
		}
	}
}

func differing(a, b map[int32]string) int {
	count := 0
	for lane, holder := range a {
		if b[lane] != holder {
			count++
		}
	}
	return count
}
