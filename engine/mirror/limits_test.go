package mirror

import (
	"context"
	"testing"
	"time"

	"golang.org/x/time/rate"

	"cutover/engine/wire"
)

func silent(string) {}

func TestALimitIsKeptAndCanBeChangedWhileItWaits(t *testing.T) {
	l := newLimits(wire.Rate{RecordsPerSecond: 2000})
	began := time.Now()
	for range 6 {
		l.wait(t.Context(), fetched(0, 1, make([]int64, 100)...), silent)
	}
	if took := time.Since(began); took < 200*time.Millisecond || took > 2*time.Second {
		t.Errorf("600 records at 2,000/s took %v", took)
	}
	l.set(wire.Rate{RecordsPerSecond: 20})
	time.AfterFunc(50*time.Millisecond, func() { l.set(wire.Rate{}) })
	began = time.Now()
	l.wait(t.Context(), fetched(0, 1, make([]int64, 2000)...), silent)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("a lifted limit held for %v", took)
	}
}

func TestBytesAreLimitedToo(t *testing.T) {
	l := newLimits(wire.Rate{BytesPerSecond: 1 << 20})
	began := time.Now()
	l.wait(t.Context(), fetched(0, 1<<18, 0, 1), silent)
	if took := time.Since(began); took < 300*time.Millisecond || took > 2*time.Second {
		t.Errorf("half a MiB at 1 MiB/s took %v", took)
	}
}

func TestAPausedWorkerWaitsUntilItIsResumedOrStopped(t *testing.T) {
	l := newLimits(wire.Rate{})
	l.pause()
	l.pause()
	said := make(chan string, 1)
	passed := make(chan bool, 1)
	go func() { passed <- l.unpaused(t.Context(), func(why string) { said <- why }) }()
	if why := <-said; why != waitingPause {
		t.Errorf("it said %q", why)
	}
	l.resume()
	l.resume()
	if !<-passed {
		t.Error("it was stopped")
	}
	l.pause()
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if l.unpaused(ctx, silent) {
		t.Error("it went on after a stop")
	}
}

func TestASliceIsPartOfASecond(t *testing.T) {
	l := newLimits(wire.Rate{})
	if l.slice(4000) != 4000 {
		t.Error("limited without a limit")
	}
	l.set(wire.Rate{RecordsPerSecond: 1000})
	if got := l.slice(4000); got != 50 {
		t.Errorf("%d records at once at 1,000/s", got)
	}
	l.set(wire.Rate{RecordsPerSecond: 0.5})
	if l.slice(4000) != 1 {
		t.Error("less than one record")
	}
	if l.records.Limit() == rate.Inf {
		t.Error("no limit")
	}
}
