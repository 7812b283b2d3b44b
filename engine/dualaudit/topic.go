package dualaudit

import (
	"context"
	"errors"
	"sync"
	"time"

	"cutover/engine/audit/scan"
	"cutover/engine/connect"
	"cutover/engine/dualaudit/match"
	"cutover/engine/wire"
)

const (
	roundOffsets = 400_000 // of a side between two looks at both: what is pending in between is about as much
	noEnd        = int64(1) << 62
)

// topic is one side: how far it was read, and by whom.
type topic struct {
	*scan.Reader
	side    match.Side
	from    wire.Offsets
	until   wire.Offsets // nil: not known yet
	sinks   []*sink
	stoodMs int64 // everything that the log held then was read, whether committed or aborted by now
	mark    ends  // what the log held at a later moment, which is not all read yet
	gaps    []Gap
	close   func()
}

func openTopic(t *terms, side match.Side, of wire.Topic, from, until wire.Offsets) (*topic, error) {
	client, err := connect.Client(t.config.Connection, "cutover-dual-audit-"+t.config.Worker)
	if err != nil {
		return nil, err
	}
	made := &topic{Reader: scan.NewReader(client, of), side: side, from: wire.Offsets{}, until: until, close: client.Close}
	for p := range of.Partitions {
		made.from[p] = from[p]
		made.sinks = append(made.sinks, &sink{terms: t, side: side, partition: p, count: of.Partitions, end: noEnd})
	}
	return made, nil
}

// begin finds where the log begins now; what was removed already cannot be judged.
func (t *topic) begin(ctx context.Context, asked wire.Offsets) error {
	begins, err := t.Begins(ctx)
	if err != nil {
		return err
	}
	for p, each := range t.sinks {
		first := begins[int32(p)]
		from, named := asked[int32(p)]
		if !named {
			from = first
		}
		if from < first {
			t.gaps = append(t.gaps, Gap{Side: t.name(), Topic: t.Topic.Name, Partition: int32(p), From: from, Until: first, Why: "it was removed (retention or deletion) before it was read"})
		}
		t.from[int32(p)] = from
		each.at = max(from, first)
	}
	return nil
}

func (t *topic) name() string {
	if t.side == match.Source {
		return "source"
	}
	return "target"
}

// reached gives the next offset of each partition.
func (t *topic) reached() wire.Offsets {
	found := wire.Offsets{}
	for p, each := range t.sinks {
		found[int32(p)] = each.at
	}
	return found
}

// records counts those within the range.
func (t *topic) records() int64 {
	sum := int64(0)
	for _, each := range t.sinks {
		sum += each.records
	}
	return sum
}

func (t *topic) offHash() int64 {
	sum := int64(0)
	for _, each := range t.sinks {
		sum += each.offHash
	}
	return sum
}

// ends is how far a log went at a moment, and how far of that it could be read.
type ends struct {
	stable wire.Offsets
	high   wire.Offsets
	askMs  int64
}

func (t *topic) look(ctx context.Context) (ends, error) {
	found := ends{askMs: nowMs()}
	var err error
	if found.high, err = t.HighWatermarks(ctx); err != nil {
		return found, err
	}
	found.stable, err = t.StableEnds(ctx)
	return found, err
}

// stand notes up to which moment everything was read. Under load some transaction is always open: the ends of one moment are waited for.
func (t *topic) stand(seen ends) {
	if t.mark.high != nil && t.left(t.mark.high) == 0 {
		t.stoodMs, t.mark = t.mark.askMs, ends{}
	}
	if t.mark.high == nil {
		t.mark = seen
	}
	if t.left(seen.high) == 0 {
		t.stoodMs, t.mark = seen.askMs, ends{}
	}
}

// left counts the offsets up to an end.
func (t *topic) left(until wire.Offsets) int64 {
	sum := int64(0)
	for p, each := range t.sinks {
		sum += max(0, until[int32(p)]-each.at)
	}
	return sum
}

// ranges gives the next of so many rounds of reading: the same share of every partition, so that both sides stay close in time.
func (t *topic) ranges(until wire.Offsets, rounds int64) map[int32]scan.Range {
	found := map[int32]scan.Range{}
	for p, each := range t.sinks {
		if left := until[int32(p)] - each.at; left > 0 {
			found[int32(p)] = scan.Range{From: each.at, Until: each.at + (left+rounds-1)/rounds}
		}
	}
	return found
}

// read reads the ranges. What was taken counts, also when it ends early.
func (t *topic) read(ctx context.Context, ranges map[int32]scan.Range) error {
	err := t.Read(ctx, ranges, func(p int32) scan.Sink { return t.sinks[p] })
	for p := range ranges {
		err = errors.Join(err, t.sinks[p].flush())
	}
	if err == nil {
		for p, each := range ranges {
			t.sinks[p].at = each.Until
		}
	}
	return err
}

func both(one, other func() error) error {
	var first, second error
	var group sync.WaitGroup
	group.Go(func() { first = one() })
	group.Go(func() { second = other() })
	group.Wait()
	return errors.Join(first, second)
}

func milliseconds(count int64) time.Duration { return time.Duration(count) * time.Millisecond }
