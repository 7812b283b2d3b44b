package mirror

import (
	"sync/atomic"

	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	leastFetch  = 32 << 10
	firstFetch  = 128 << 10
	recordBytes = 256 // what a record takes in memory beside its bytes
)

// pace keeps what a lane fetches small in memory, however well it was compressed on the wire.
type pace struct {
	budget       int32 // bytes in memory of one fetch, of one broker
	asked        int32 // bytes on the wire that are asked for
	wire, memory atomic.Int64
}

// newPace shares what a worker may hold among its lanes. It begins small: how well the data are compressed is not known.
func newPace(lanes int32) *pace {
	budget := min(4<<20, max(512<<10, (16<<20)/lanes))
	return &pace{budget: budget, asked: firstFetch}
}

// OnFetchBatchRead is franz-go's hook on each batch that it decompressed.
func (p *pace) OnFetchBatchRead(_ kgo.BrokerMetadata, _ string, _ int32, batch kgo.FetchBatchMetrics) {
	p.wire.Add(int64(batch.CompressedBytes))
	p.memory.Add(int64(batch.UncompressedBytes) + recordBytes*int64(batch.NumRecords))
}

// adapt asks for less when what came took more memory than the budget, and for more again when it takes less.
func (p *pace) adapt(client *kgo.Client) {
	onWire, inMemory := p.wire.Swap(0), p.memory.Swap(0)
	if onWire == 0 {
		return
	}
	growth := max(1, float64(inMemory)/float64(onWire)/4) // four times the wire is the common case, paid for in the budget
	wanted := min(2*p.asked, max(leastFetch, int32(float64(p.budget)/growth)))
	if wanted < p.asked*3/4 || wanted > p.asked*4/3 {
		p.asked = wanted
		client.UpdateFetchMaxBytes(wanted, p.perPartition())
	}
}

func (p *pace) perPartition() int32 { return max(leastFetch, p.asked/4) }
