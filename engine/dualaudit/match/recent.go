package match

const (
	recentPairs = 1 << 17
	recentMask  = recentPairs - 1
	indexSize   = 2 * recentPairs
)

// Spot is where a record stands on its side.
type Spot struct {
	Partition int32
	Offset    int64
}

type pair struct {
	digest Number
	spots  [2]Spot
}

// recent remembers the last pairs: what is written twice comes after its first copy was matched, and a cut may lie below what was read.
type recent struct {
	pairs []pair
	index []int32 // by digest, the last pair with these bits
	count int64
}

func newRecent() *recent {
	return &recent{pairs: make([]pair, recentPairs), index: make([]int32, indexSize)}
}

func (r *recent) add(source, target *Entry) {
	i := int32(r.count & recentMask)
	r.pairs[i] = pair{digest: source.Digest, spots: [2]Spot{{source.Partition, source.Offset}, {target.Partition, target.Offset}}}
	r.index[source.Digest.Low%indexSize] = i
	r.count++
}

// find gives where an equal record stands that was matched before.
func (r *recent) find(side Side, digest Number) (Spot, bool) {
	found := &r.pairs[r.index[digest.Low%indexSize]]
	return found.spots[side], found.digest == digest && digest != Number{}
}

// astride counts pairs of which one record stands below the cut and the other does not.
func (r *recent) astride(below func(side Side, spot Spot) bool) int64 {
	count := int64(0)
	for i := range r.pairs[:min(r.count, recentPairs)] {
		each := &r.pairs[i]
		if below(Source, each.spots[Source]) != below(Target, each.spots[Target]) {
			count++
		}
	}
	return count
}
