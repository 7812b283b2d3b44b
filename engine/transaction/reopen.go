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
	if err = session.initialize(ctx, old.producer, old.epoch); err != nil {
		client.Close()
		return nil, err
	}
	broken.count.Store(0)
	return session, nil
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
