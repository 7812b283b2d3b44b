package mirror

import (
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const recentCommits = 512 // transactions that percentiles are taken over

// counts is what a worker's lanes did, for its progress events.
type counts struct {
	records, bytes, transactions, recoveries, foreign atomic.Int64

	mu    sync.Mutex
	times []float64 // milliseconds of the last transactions
	sizes []float64 // records of the last transactions
	at    int
}

func (c *counts) transaction(done *load, took time.Duration) {
	c.records.Add(done.records)
	c.bytes.Add(done.bytes)
	c.foreign.Add(done.foreign)
	c.transactions.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.times) < recentCommits {
		c.times, c.sizes = append(c.times, 0), append(c.sizes, 0)
	}
	c.times[c.at], c.sizes[c.at] = float64(took.Microseconds())/1000, float64(done.records)
	c.at = (c.at + 1) % recentCommits
}

// recent gives the median and 99th percentile of commit times (ms) and the median size (records).
func (c *counts) recent() (p50, p99, size float64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return quantile(c.times, 0.5), quantile(c.times, 0.99), quantile(c.sizes, 0.5)
}

func quantile(of []float64, share float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[int(math.Ceil(share*float64(len(sorted))))-1]
}

// residentBytes of this process, where the system tells (Linux); else 0.
func residentBytes() int64 {
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(raw))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
