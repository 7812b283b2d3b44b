package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"cutover/engine/transaction"
	"cutover/engine/wire"
)

const (
	hopelessTries = 12               // in a row without a commit, on an error that is no matter of connections
	sayAgain      = 10 * time.Second // between words about the same trouble
	longestPause  = time.Second
)

// run holds the lane until the context ends (nil), another session fences it (transaction.ErrFenced), or a fault.
// A cluster that cannot be reached is tried for as long as the worker lives: what is slow, and why, is in its progress.
func (l *lane) run(ctx context.Context) error {
	tries, said := 0, time.Time{}
	for ctx.Err() == nil {
		before := l.commits.Load()
		err := l.attempt(ctx)
		switch {
		case err == nil || ctx.Err() != nil:
			return nil
		case errors.Is(err, transaction.ErrFenced), final(err):
			return err
		}
		if l.commits.Load() > before {
			tries = 0
		}
		tries++
		change := "retried"
		if errors.Is(err, errUnclean) || errors.Is(err, errWallsMoved) {
			tries, change = 0, "renewed"
		}
		if tries >= hopelessTries && !connection(err) {
			return wire.Faultf("engine_failed", "lane %d failed %d times in a row: %v", l.number, tries, err)
		}
		if l.troubled(err) || time.Since(said) > sayAgain {
			l.tell(change, err)
			said = time.Now()
		}
		if change == "retried" {
			sleep(ctx, min(longestPause, time.Millisecond<<min(tries, 10)))
		}
	}
	return nil
}

// troubled notes why a session ended; false when the one before ended for the same reason.
func (l *lane) troubled(err error) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	news := l.trouble != err.Error()
	l.trouble = err.Error()
	return news
}

// passing faults may be over at the next try; the worker's own watch ends it when a topic is really gone.
var passing = map[string]bool{"unreachable": true, "topic_gone": true}

func final(err error) bool {
	var fault *wire.Fault
	return errors.As(err, &fault) && !passing[fault.Name]
}

// connection reports that trying again is right however often it failed.
func connection(err error) bool {
	var fault *wire.Fault
	var network net.Error
	return errors.As(err, &fault) && passing[fault.Name] || kerr.IsRetriable(err) || errors.As(err, &network) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, context.DeadlineExceeded)
}

func sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *lane) tell(change string, reason error) {
	event := wire.LaneChange{Event: "lane", Lane: l.number, Change: change}
	if reason != nil {
		event.Reason = reason.Error()
	}
	l.emit(event)
}

// unwelcome names the origin of a batch that the follower refused for what it is; other errors stay as they are.
func unwelcome(config wire.Mirror, round []*batch, err error) error {
	var refused *transaction.BatchRefused
	if !errors.As(err, &refused) {
		return err
	}
	for _, one := range round {
		if one.Partition != refused.Partition {
			continue
		}
		switch {
		case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
			return tooLarge(config, one, refused.Error())
		case errors.Is(err, kerr.InvalidRecord), errors.Is(err, kerr.InvalidTimestamp), errors.Is(err, kerr.UnsupportedForMessageFormat):
			return batchFault("record_refused", config, one, "is refused by "+config.Follower.Name+": "+refused.Error())
		}
	}
	return err
}

func tooLarge(config wire.Mirror, one *batch, why string) error {
	return batchFault("record_too_large", config, one,
		fmt.Sprintf("is too large for %s: %d bytes with provenance; %s", config.Follower.Name, len(one.Bytes), why))
}

func batchFault(name string, config wire.Mirror, one *batch, what string) error {
	subject := "the record"
	if one.Records > 1 {
		subject = fmt.Sprintf("one of %d records, the first of them", one.Records)
	}
	return wire.Faultf(name, "%s at partition %d, offset %d of %s %s", subject, one.first.Partition, one.first.Offset, config.Origin.Name, what).
		With(map[string]any{"origin_partition": one.first.Partition, "origin_offset": one.first.Offset, "records": one.Records,
			"follower_partition": one.Partition, "bytes": len(one.Bytes)})
}
