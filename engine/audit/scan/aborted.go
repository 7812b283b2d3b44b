package scan

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// aborted holds, per producer, the first offsets of its aborted transactions in one fetched piece, ascending.
type aborted map[int64][]int64

func abortedIn(answer *kmsg.FetchResponseTopicPartition) aborted {
	if len(answer.AbortedTransactions) == 0 {
		return nil
	}
	found := aborted{}
	for _, each := range answer.AbortedTransactions {
		found[each.ProducerID] = append(found[each.ProducerID], each.FirstOffset)
	}
	for _, firsts := range found {
		slices.Sort(firsts)
	}
	return found
}

// holds reports whether the batch belongs to a transaction that was aborted.
func (a aborted) holds(b *batch) bool {
	firsts := a[b.producer]
	return b.isTransactional() && len(firsts) > 0 && b.first >= firsts[0]
}

// passed takes note of the marker that ends a producer's aborted transaction.
func (a aborted) passed(producer int64) {
	if firsts := a[producer]; len(firsts) > 0 {
		a[producer] = firsts[1:]
	}
}
