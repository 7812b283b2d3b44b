package mirror

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/time/rate"

	"cutover/engine/wire"
)

// limits is what all lanes of a worker share: the rate limit and whether it is paused; both change while it runs.
type limits struct {
	records *rate.Limiter
	bytes   *rate.Limiter
	typical atomic.Int64 // bytes of a record, as last fetched
	mu      sync.Mutex
	resumed chan struct{} // closed while not paused
}

func newLimits(of wire.Rate) *limits {
	l := &limits{records: rate.NewLimiter(rate.Inf, 1), bytes: rate.NewLimiter(rate.Inf, 1), resumed: make(chan struct{})}
	l.typical.Store(1000)
	close(l.resumed)
	l.set(of)
	return l
}

func (l *limits) set(of wire.Rate) {
	limit(l.records, of.RecordsPerSecond)
	limit(l.bytes, of.BytesPerSecond)
}

func limit(one *rate.Limiter, perSecond float64) {
	if perSecond <= 0 {
		one.SetLimit(rate.Inf)
		return
	}
	one.SetBurst(max(1, int(perSecond/rateSlice)))
	one.SetLimit(rate.Limit(perSecond))
}

func (l *limits) pause() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.resumed:
		l.resumed = make(chan struct{})
	default:
	}
}

func (l *limits) resume() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.resumed:
	default:
		close(l.resumed)
	}
}

// unpaused waits while the worker is paused; false when the context ends first.
func (l *limits) unpaused(ctx context.Context, say func(string)) bool {
	l.mu.Lock()
	resumed := l.resumed
	l.mu.Unlock()
	select {
	case <-resumed:
		return true
	default:
	}
	say(waitingPause)
	select {
	case <-resumed:
		return true
	case <-ctx.Done():
		return false
	}
}

// slice is how many records to take at once, so that a limited lane never overshoots by more than a slice.
func (l *limits) slice(most int) int {
	if l.records.Limit() != rate.Inf {
		most = min(most, l.records.Burst())
	}
	if l.bytes.Limit() != rate.Inf {
		most = min(most, l.bytes.Burst()/int(max(1, l.typical.Load())))
	}
	return max(1, most)
}

// wait holds back what was fetched until the limits let it pass.
func (l *limits) wait(ctx context.Context, fetched kgo.Fetches, say func(string)) {
	if l.records.Limit() == rate.Inf && l.bytes.Limit() == rate.Inf {
		return
	}
	size := 0
	fetched.EachRecord(func(record *kgo.Record) { size += roughSize(record) })
	l.typical.Store(int64(size / max(1, fetched.NumRecords())))
	began := time.Now()
	spend(ctx, l.records, fetched.NumRecords())
	spend(ctx, l.bytes, size)
	if time.Since(began) > 5*time.Millisecond {
		say(waitingRate)
	} else {
		say("")
	}
}

func spend(ctx context.Context, from *rate.Limiter, tokens int) {
	for tokens > 0 && from.Limit() != rate.Inf {
		part := min(tokens, max(1, from.Burst()))
		if from.WaitN(ctx, part) != nil && ctx.Err() != nil {
			return
		}
		tokens -= part
	}
}
