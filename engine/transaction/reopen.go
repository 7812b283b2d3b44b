package transaction

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/wire"
)

// Reopen goes on under the id of a session that met a doubt: it ends whatever that one left open, with new connections.
// Unlike Open it names the old producer id and epoch, so that it is refused (ErrFenced) when somebody else took over
// in between, and deposes nobody (KIP-360).
func Reopen(ctx context.Context, to wire.Connection, cluster connect.Cluster, clientID string, old *Session) (*Session, error) {
	old.Close()
	broken := &breakage{}
	options := append(cluster.TransactionOptions(), kgo.WithHooks(broken), kgo.RequestRetries(0), kgo.RequestTimeoutOverhead(callTimeout))
	client, err := connect.Client(to, clientID, options...)
	if err != nil {
		return nil, err
	}
	session := &Session{
		Client: client, id: old.id, timeoutMs: old.timeoutMs, separate: old.separate, broken: broken,
		sequences: map[int32]int32{}, added: map[int32]bool{},
	}
	if err = session.resume(ctx, old.producer, old.epoch); err != nil {
		client.Close()
		return nil, err
	}
	broken.count.Store(0)
	return session, nil
}

// resume takes over from an own session of this producer id and epoch, and from nobody else.
func (s *Session) resume(ctx context.Context, producer int64, epoch int16) error {
	s.producer, s.epoch = producer, epoch
	if err := s.notTaken(ctx); err != nil {
		return err
	}
	if !s.separate {
		// Left to InitProducerId, the coordinator would end an open transaction under an epoch of its own and then refuse ours.
		if err := s.End(ctx, false); err != nil && !errors.Is(err, kerr.InvalidTxnState) {
			return err
		}
	}
	return s.initialize(ctx, producer, epoch)
}

// notTaken looks first whether a transaction of somebody else is open: InitProducerId would abort it even though it
// refuses the stale epoch afterwards.
func (s *Session) notTaken(ctx context.Context) error {
	request := kmsg.NewPtrDescribeTransactionsRequest()
	request.TransactionalIDs = []string{s.id}
	answer, err := request.RequestWith(ctx, s.Client)
	if err != nil {
		return fmt.Errorf("DescribeTransactions: %w", err)
	}
	for _, one := range answer.TransactionStates {
		if err := kerr.ErrorForCode(one.ErrorCode); err != nil {
			return s.refused(fmt.Errorf("DescribeTransactions: %w", err), "")
		}
		if one.State == "Ongoing" && (one.ProducerID != s.producer || one.ProducerEpoch != s.epoch) {
			return fmt.Errorf("%w: its transaction is open", ErrFenced)
		}
	}
	return nil
}

// Fence ends the open transaction of a transactional id and shuts its holder out; it returns the id and epoch that are
// in force from then on.
func Fence(ctx context.Context, client *kgo.Client, id string, timeoutMs int32) (int64, int16, error) {
	passing := &Session{Client: client, id: id, timeoutMs: timeoutMs}
	err := passing.initialize(ctx, -1, -1)
	return passing.producer, passing.epoch, err
}

func (s *Session) initialize(ctx context.Context, producer int64, epoch int16) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionalID, request.TransactionTimeoutMillis = &s.id, s.timeoutMs
	request.ProducerID, request.ProducerEpoch = producer, epoch
	for {
		answer, err := request.RequestWith(ctx, s.Client)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		if err == nil {
			s.producer, s.epoch = answer.ProducerID, answer.ProducerEpoch
			return nil
		}
		var answered *kerr.Error
		if errors.As(err, &answered) && !settling(err) {
			return s.refused(fmt.Errorf("InitProducerId: %w", err), "")
		}
		if !pause(ctx, opening) {
			return wire.Faultf("unreachable", "the transaction coordinator was not ready within %s: %v", fenceTimeout, err)
		}
	}
}
