package control

import (
	"context"
	"maps"
	"slices"
	"time"

	"cutover/engine/offsets"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

// positionsCommand is what commit_positions and prepare_positions ask for.
type positionsCommand struct {
	Group     string           `json:"group"`
	Topic     string           `json:"topic"`
	TopicID   wire.TopicID     `json:"topic_id"`
	Positions wire.Offsets     `json:"positions"`
	Metadata  string           `json:"metadata"`
	Each      map[int32]string `json:"metadata_by_partition"` // instead of metadata, where given
}

// pending positions are written and neither committed nor aborted.
type pending struct{ asked positionsCommand }

// readBack is one position as the group has it now.
type readBack struct {
	Offset   int64  `json:"offset"`
	Metadata string `json:"metadata"`
}

// written is what a commit of positions came to. Superseded are partitions where a member committed after us: its commit
// is later in the group's log, and wins.
type written struct {
	Positions    map[int32]readBack `json:"positions"`
	Superseded   []int32            `json:"superseded"`
	CommitMs     float64            `json:"commit_ms"`
	VisibleMs    float64            `json:"visible_ms"`
	Milliseconds float64            `json:"milliseconds"`
}

func decodePositions(command wire.Command) (positionsCommand, error) {
	var asked positionsCommand
	if err := command.Decode(&asked); err != nil {
		return asked, err
	}
	if asked.Group == "" || asked.Topic == "" || len(asked.Positions) == 0 {
		return asked, wire.Faultf("bad_command", "%s names no group, no topic or no positions", command.Name)
	}
	return asked, nil
}

func (a *positionsCommand) metadata(p int32) string {
	if own, there := a.Each[p]; there {
		return own
	}
	return a.Metadata
}

func (a *positionsCommand) positions() []transaction.Position {
	var all []transaction.Position
	for _, p := range slices.Sorted(maps.Keys(a.Positions)) {
		all = append(all, transaction.Position{Partition: p, Offset: a.Positions[p], Metadata: a.metadata(p)})
	}
	return all
}

// commitPositions writes, commits and reads back: of a live group or an empty one, all positions or none.
func (w *writer) commitPositions(ctx context.Context, command wire.Command) (any, error) {
	began := time.Now()
	asked, err := decodePositions(command)
	if err != nil {
		return nil, err
	}
	if _, err := w.sameTopic(ctx, asked.Topic, asked.TopicID); err != nil {
		return nil, err
	}
	if err := w.begin(ctx); err != nil {
		return nil, err
	}
	if err := w.attempt(ctx, func() error { return w.writePositions(ctx, asked) }); err != nil {
		return nil, err
	}
	if err := w.end(ctx); err != nil {
		return nil, err
	}
	return w.visible(ctx, asked, began, time.Now())
}

func (w *writer) writePositions(ctx context.Context, asked positionsCommand) error {
	return w.session.CommitOffsets(ctx, asked.Group, asked.Topic, asked.TopicID, asked.positions())
}

// preparePositions writes and leaves the transaction open: stable reads of these positions wait from now on. Asked again,
// it writes newer ones into the same transaction.
func (w *writer) preparePositions(ctx context.Context, command wire.Command) (any, error) {
	began := time.Now()
	asked, err := decodePositions(command)
	if err != nil {
		return nil, err
	}
	if _, err := w.sameTopic(ctx, asked.Topic, asked.TopicID); err != nil {
		return nil, err
	}
	if err := w.ready(ctx); err != nil {
		return nil, err
	}
	if w.pending == nil {
		w.openedAt = began
	} else if w.pending.asked.Group != asked.Group || w.pending.asked.Topic != asked.Topic {
		return nil, wire.Faultf("transaction_open", "positions of group %s on %s are pending: finish them first", w.pending.asked.Group, w.pending.asked.Topic)
	}
	if w.pending == nil {
		err = w.attempt(ctx, func() error { return w.writePositions(ctx, asked) })
	} else if err = w.writePositions(ctx, asked); err != nil {
		err = w.notDone(err)
	}
	if err != nil {
		return nil, err
	}
	if w.pending == nil {
		w.pending = &pending{asked: asked}
	} else {
		w.pending.merge(asked)
	}
	left := time.Duration(w.config.TransactionTimeoutMs)*time.Millisecond - time.Since(w.openedAt)
	return map[string]any{"expires_in_ms": left.Milliseconds(), "milliseconds": sinceMs(began)}, nil
}

// merge keeps, per partition, what was written last.
func (p *pending) merge(newer positionsCommand) {
	each := map[int32]string{}
	for q := range p.asked.Positions {
		each[q] = p.asked.metadata(q)
	}
	positions := maps.Clone(p.asked.Positions)
	for q, offset := range newer.Positions {
		positions[q], each[q] = offset, newer.metadata(q)
	}
	p.asked.Positions, p.asked.Each = positions, each
}

// finishPositions commits or aborts what is pending.
func (w *writer) finishPositions(ctx context.Context, command wire.Command) (any, error) {
	began := time.Now()
	var asked struct {
		Commit bool `json:"commit"`
		Blind  bool `json:"blind"` // do not read back: another transaction may keep these positions pending
	}
	if err := command.Decode(&asked); err != nil {
		return nil, err
	}
	if w.pending == nil {
		return nil, wire.Faultf("bad_command", "no positions are pending")
	}
	open := w.pending.asked
	defer func() { w.pending = nil }()
	if asked.Commit {
		if w.doubtful || !w.session.Clean() {
			return nil, wire.Faultf("unreachable", "a connection broke while positions were pending: they are aborted").With(map[string]any{"written": false})
		}
		if err := w.end(ctx); err != nil {
			return nil, err
		}
		if asked.Blind {
			return map[string]any{"milliseconds": sinceMs(began)}, nil
		}
		return w.visible(ctx, open, began, time.Now())
	}
	if err := w.session.End(ctx, false); err != nil {
		return nil, w.notDone(err)
	}
	return map[string]any{"milliseconds": sinceMs(began)}, nil
}

// visible waits until the positions can be read with stability required, and says what is there now.
func (w *writer) visible(ctx context.Context, asked positionsCommand, began, committed time.Time) (any, error) {
	now, err := offsets.Committed(ctx, w.client, asked.Group, asked.Topic, asked.TopicID)
	if err != nil {
		return nil, wire.Faultf("not_visible", "the positions are committed, and reading them back failed: %v", err)
	}
	outcome := written{Positions: map[int32]readBack{}, CommitMs: float64(committed.Sub(began).Microseconds()) / 1000, VisibleMs: sinceMs(committed), Milliseconds: sinceMs(began)}
	for p, offset := range asked.Positions {
		one, there := now[p]
		if !there {
			outcome.Superseded = append(outcome.Superseded, p) // deleted by somebody
			continue
		}
		outcome.Positions[p] = readBack{one.Offset, one.Metadata}
		if one.Offset != offset || one.Metadata != asked.metadata(p) {
			outcome.Superseded = append(outcome.Superseded, p)
		}
	}
	slices.Sort(outcome.Superseded)
	return outcome, nil
}

func sinceMs(began time.Time) float64 { return float64(time.Since(began).Microseconds()) / 1000 }
