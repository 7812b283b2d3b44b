package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/connect"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

const (
	coordinatorWithin = 30 * time.Second
	coordinatorPause  = 20 * time.Millisecond
)

// writer holds the transactional id. It is used by one goroutine.
type writer struct {
	config   wire.Control
	cluster  connect.Cluster
	client   *kgo.Client // reads and questions
	session  *transaction.Session
	doubtful bool      // the session met an error: it is replaced before anything else is written
	deposed  bool      // another process took the transactional id: nothing is ever written again
	pending  *pending  // positions written, their transaction open
	openedAt time.Time // of the open transaction
}

// take opens the first session and thereby shuts out whoever held the id before.
func (w *writer) take(ctx context.Context) error {
	return patiently(ctx, func() (err error) {
		w.session, err = transaction.Open(ctx, w.config.Connection, w.cluster, w.config.Worker, w.config.TransactionalID, w.config.TransactionTimeoutMs)
		return err
	})
}

// patiently opens sessions until the coordinator is where the cluster says it is: each session looks for it anew.
func patiently(ctx context.Context, open func() error) error {
	for deadline := time.Now().Add(coordinatorWithin); ; {
		err := open()
		if !kerr.IsRetriable(err) || time.Now().After(deadline) || ctx.Err() != nil {
			return err
		}
		time.Sleep(coordinatorPause)
	}
}

func (w *writer) close() {
	if w.session != nil {
		w.session.Close()
	}
}

func (w *writer) obey(ctx context.Context, command wire.Command) (any, error) {
	switch command.Name {
	case "commit_positions":
		return w.commitPositions(ctx, command)
	case "prepare_positions":
		return w.preparePositions(ctx, command)
	case "finish_positions":
		return w.finishPositions(ctx, command)
	case "write_control":
		return w.writeControl(ctx, command)
	case "append_records":
		return w.appendRecords(ctx, command)
	case "fence":
		return w.fence(ctx, command)
	}
	return nil, wire.Faultf("bad_command", "control knows no command %q", command.Name)
}

// ready gives a session without a doubt: the present one, or a new one that has ended what the last left open.
func (w *writer) ready(ctx context.Context) error {
	switch {
	case w.session == nil:
		return wire.Faultf("bad_command", "this process was given no transactional id and writes nothing")
	case w.deposed:
		return w.fenced()
	case !w.doubtful && w.session.Clean():
		return nil
	}
	w.pending = nil
	err := patiently(ctx, func() error {
		next, err := transaction.Reopen(ctx, w.config.Connection, w.cluster, w.config.Worker, w.session)
		if err == nil {
			w.session, w.doubtful = next, false
		}
		return err
	})
	if err != nil {
		return w.notDone(err)
	}
	return nil
}

// attempt makes the first write of a transaction. A coordinator that answers that it is not ready has written nothing: it
// is asked again in a new session.
func (w *writer) attempt(ctx context.Context, write func() error) error {
	var refused error
	err := patiently(ctx, func() error {
		if refused = w.ready(ctx); refused != nil {
			return nil
		}
		err := write()
		w.doubtful = err != nil
		return err
	})
	if refused != nil {
		return refused
	}
	if err != nil {
		return w.notDone(err)
	}
	return nil
}

// begin is ready, and refuses while a transaction of positions is open.
func (w *writer) begin(ctx context.Context) error {
	if err := w.ready(ctx); err != nil {
		return err
	}
	if w.pending != nil {
		return wire.Faultf("transaction_open", "positions of group %s are pending: finish them first", w.pending.asked.Group)
	}
	w.openedAt = time.Now()
	return nil
}

// end asks for the commit, the only call after which an outcome can be in doubt.
func (w *writer) end(ctx context.Context) error {
	if !w.session.Clean() {
		return w.notDone(errors.New("a connection broke before the commit was asked for"))
	}
	err := w.session.End(ctx, true)
	switch {
	case errors.Is(err, transaction.ErrFenced), errors.Is(err, kerr.InvalidTxnState), errors.Is(err, kerr.InvalidProducerIDMapping):
		return w.notDone(err)
	case err != nil:
		w.doubtful = true
		return ambiguous(err)
	case !w.session.Clean():
		w.doubtful = true
		return ambiguous(errors.New("a connection broke while the commit was under way"))
	}
	return nil
}

// notDone sorts the error of a call before the commit was asked for: nothing of the transaction will ever be visible,
// since the next session ends it before it writes.
func (w *writer) notDone(err error) error {
	w.doubtful = true
	var fault *wire.Fault
	switch {
	case w.expired():
		return wire.Faultf("transaction_expired", "positions were pending for %s, above the timeout of %d ms, and were aborted",
			time.Since(w.openedAt).Round(time.Millisecond), w.config.TransactionTimeoutMs)
	case errors.Is(err, transaction.ErrFenced):
		w.deposed = true
		return w.fenced()
	case errors.As(err, &fault):
		return fault
	}
	var said *kerr.Error
	if errors.As(err, &said) && !said.Retriable {
		return wire.Faultf("rejected", "the broker refused: %v", err).With(map[string]any{"written": false})
	}
	return connect.Unreachable(err).(*wire.Fault).With(map[string]any{"written": false})
}

func (w *writer) expired() bool {
	return w.pending != nil && time.Since(w.openedAt) > time.Duration(w.config.TransactionTimeoutMs)*time.Millisecond
}

func (w *writer) fenced() error {
	return wire.Faultf("fenced", "the transactional id %s was taken by another process: this one writes no more", w.config.TransactionalID).
		With(map[string]any{"transactional_id": w.config.TransactionalID})
}

func ambiguous(err error) error {
	return wire.Faultf("ambiguous", "the commit was asked for and its outcome is not known: %v", err)
}

// fence shuts out the holders of other transactional ids, all at once.
func (w *writer) fence(ctx context.Context, command wire.Command) (any, error) {
	var asked struct {
		TransactionalIDs []string `json:"transactional_ids"`
	}
	if err := command.Decode(&asked); err != nil {
		return nil, err
	}
	type outcome struct {
		ProducerID    int64   `json:"producer_id"`
		ProducerEpoch int16   `json:"producer_epoch"`
		Milliseconds  float64 `json:"milliseconds"`
		id            string
		err           error
	}
	outcomes := make(chan outcome, len(asked.TransactionalIDs))
	for _, id := range asked.TransactionalIDs {
		go func() {
			began := time.Now()
			producer, epoch, err := transaction.Fence(ctx, w.client, id, w.config.TransactionTimeoutMs)
			outcomes <- outcome{producer, epoch, float64(time.Since(began).Microseconds()) / 1000, id, err}
		}()
	}
	fenced, failures := map[string]outcome{}, []error(nil)
	for range asked.TransactionalIDs {
		one := <-outcomes
		if one.err != nil {
			failures = append(failures, fmt.Errorf("%s: %w", one.id, one.err))
			continue
		}
		fenced[one.id] = one
	}
	if err := errors.Join(failures...); err != nil {
		return nil, connect.Unreachable(err)
	}
	return map[string]any{"fenced": fenced}, nil
}
