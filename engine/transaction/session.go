// Package transaction speaks Kafka's transaction protocol request by request, with one rule: whoever meets
// an error or a broken connection throws the session away and opens a new one, which fences the old.
//
// Raw requests instead of a client's transactional producer, because every retry inside such a client is a frame
// that may arrive late (KIP-890): here nothing is retried but what the broker refused with CONCURRENT_TRANSACTIONS.
package transaction

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/wire"
)

// ErrFenced says that another session of the same transactional id, or the coordinator, has taken over.
var ErrFenced = errors.New("fenced by another session of the same transactional id")

const (
	callTimeout  = 5 * time.Second      // of one request; half of the shortest transaction timeout
	fenceTimeout = 30 * time.Second     // of opening a session, which may wait for the coordinator to end the last one
	concurrent   = time.Millisecond     // between tries while the coordinator finishes the transaction before
	opening      = 2 * time.Millisecond // between tries of InitProducerId
)

// Session is one producer id and epoch of a transactional id. Not safe for concurrent use.
type Session struct {
	Client *kgo.Client

	id        string
	timeoutMs int32
	separate  bool // each transaction has its own epoch (KIP-890 part 2)
	producer  int64
	epoch     int16
	sequences map[int32]int32
	added     map[int32]bool // partitions that the coordinator was told of (before KIP-890 part 2)
	broken    *breakage
}

// Position is one partition's committed offset with its metadata.
type Position struct {
	Partition int32
	Offset    int64
	Metadata  string
}

// breakage counts connections that broke under a transactional request.
type breakage struct{ count atomic.Int64 }

var transactional = map[int16]bool{
	int16(kmsg.Produce): true, int16(kmsg.InitProducerID): true, int16(kmsg.AddPartitionsToTxn): true,
	int16(kmsg.AddOffsetsToTxn): true, int16(kmsg.EndTxn): true, int16(kmsg.TxnOffsetCommit): true,
}

// OnBrokerE2E is franz-go's hook on each request's end.
func (b *breakage) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if transactional[key] && e2e.Err() != nil {
		b.count.Add(1)
	}
}

// Open takes the transactional id: it fences whoever held it and ends that one's open transaction.
func Open(ctx context.Context, to wire.Connection, cluster connect.Cluster, clientID, id string, timeoutMs int32) (*Session, error) {
	broken := &breakage{}
	options := append(cluster.TransactionOptions(), kgo.WithHooks(broken), kgo.RequestRetries(0), kgo.RequestTimeoutOverhead(callTimeout))
	client, err := connect.Client(to, clientID, options...)
	if err != nil {
		return nil, err
	}
	session := &Session{
		Client: client, id: id, timeoutMs: timeoutMs, separate: cluster.KIP890Part2(), broken: broken,
		sequences: map[int32]int32{}, added: map[int32]bool{},
	}
	if err := session.fence(ctx); err != nil {
		client.Close()
		return nil, err
	}
	broken.count.Store(0)
	return session, nil
}

// Close gives up the connections; an open transaction is left to whoever opens the next session.
func (s *Session) Close() { s.Client.Close() }

// Producer is the id and epoch that the next records carry.
func (s *Session) Producer() (int64, int16) { return s.producer, s.epoch }

// Clean reports that no connection broke under any transactional request of this session.
func (s *Session) Clean() bool { return s.broken.count.Load() == 0 }

func (s *Session) fence(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fenceTimeout)
	defer cancel()
	request := kmsg.NewPtrInitProducerIDRequest()
	request.TransactionalID, request.TransactionTimeoutMillis = &s.id, s.timeoutMs
	request.ProducerID, request.ProducerEpoch = -1, -1
	for {
		answer, err := request.RequestWith(ctx, s.Client)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		if err == nil {
			s.producer, s.epoch = answer.ProducerID, answer.ProducerEpoch
			return nil
		}
		if !settling(err) {
			return s.refused(fmt.Errorf("InitProducerId: %w", err), "")
		}
		if !pause(ctx, opening) {
			return wire.Faultf("unreachable", "the transaction coordinator was not ready within %s: %v", fenceTimeout, err)
		}
	}
}

// settling errors of the coordinator pass by themselves. One that moved away is found anew by the next session.
func settling(err error) bool {
	return errors.Is(err, kerr.ConcurrentTransactions) || errors.Is(err, kerr.CoordinatorLoadInProgress) ||
		errors.Is(err, kerr.CoordinatorNotAvailable)
}

// refused names what is missing where the session knows more than the error: topic is the one that the call was about.
func (s *Session) refused(err error, topic string) error {
	var batch *BatchRefused
	switch {
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed):
		return connect.Needs(err, "WRITE", "transactional id", s.id)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return connect.Needs(err, "WRITE", "topic", topic)
	case errors.As(err, &batch) && !errors.Is(err, kerr.InvalidProducerEpoch) && !errors.Is(err, kerr.ProducerFenced):
		return err // whoever made the batch knows what was in it
	}
	return refused(err)
}

// refused sorts an error: fenced, a fault that no retry mends, or as it is.
func refused(err error) error {
	switch {
	case errors.Is(err, kerr.InvalidProducerEpoch), errors.Is(err, kerr.ProducerFenced):
		return fmt.Errorf("%w: %w", ErrFenced, err)
	case errors.Is(err, kerr.TransactionalIDAuthorizationFailed), errors.Is(err, kerr.TopicAuthorizationFailed),
		errors.Is(err, kerr.GroupAuthorizationFailed), errors.Is(err, kerr.SaslAuthenticationFailed):
		return connect.Unreachable(err)
	case errors.Is(err, kerr.MessageTooLarge), errors.Is(err, kerr.RecordListTooLarge):
		return wire.Faultf("record_too_large", "the record was refused for its size: %v", err)
	case errors.Is(err, kerr.InvalidRecord), errors.Is(err, kerr.InvalidTimestamp):
		return wire.Faultf("record_refused", "the record was refused: %v", err)
	case errors.Is(err, kerr.InvalidTransactionTimeout):
		return wire.Faultf("bad_configuration", "the broker allows no such transaction timeout: %v", err)
	}
	return err
}

func pause(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// settled repeats a call while the coordinator finishes the transaction before it.
func (s *Session) settled(ctx context.Context, topic string, call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	for {
		err := call(ctx)
		if !errors.Is(err, kerr.ConcurrentTransactions) || !pause(ctx, concurrent) {
			return s.refused(err, topic)
		}
	}
}

// CommitOffsets writes positions of a group into the transaction, and so begins it. Members and generation are not
// named: the fence is the transactional id.
func (s *Session) CommitOffsets(ctx context.Context, group, topic string, topicID [16]byte, positions []Position) error {
	if !s.separate {
		if err := s.addOffsets(ctx, group); err != nil {
			return err
		}
	}
	request := kmsg.NewPtrTxnOffsetCommitRequest()
	request.TransactionalID, request.Group, request.Generation = s.id, group, -1
	request.ProducerID, request.ProducerEpoch = s.producer, s.epoch
	about := kmsg.NewTxnOffsetCommitRequestTopic()
	about.Topic, about.TopicID = topic, topicID
	for _, position := range positions {
		one := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		one.Partition, one.Offset, one.Metadata = position.Partition, position.Offset, &position.Metadata
		about.Partitions = append(about.Partitions, one)
	}
	request.Topics = append(request.Topics, about)
	return s.settled(ctx, topic, func(ctx context.Context) error {
		answer, err := request.RequestWith(ctx, s.Client)
		if err != nil {
			return fmt.Errorf("TxnOffsetCommit: %w", err)
		}
		answered := 0
		for _, topic := range answer.Topics {
			for _, partition := range topic.Partitions {
				answered++
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return offsetsRefused(fmt.Errorf("TxnOffsetCommit of partition %d: %w", partition.Partition, err), group, about.Topic)
				}
			}
		}
		return whole("TxnOffsetCommit", answered, len(positions))
	})
}

// offsetsRefused names what is missing to commit positions: they need less than records do.
func offsetsRefused(err error, group, topic string) error {
	if errors.Is(err, kerr.GroupAuthorizationFailed) {
		return connect.Needs(err, "READ", "group", group)
	}
	if errors.Is(err, kerr.TopicAuthorizationFailed) {
		return connect.Needs(err, "READ", "topic", topic)
	}
	return err
}

func (s *Session) addOffsets(ctx context.Context, group string) error {
	request := kmsg.NewPtrAddOffsetsToTxnRequest()
	request.TransactionalID, request.Group = s.id, group
	request.ProducerID, request.ProducerEpoch = s.producer, s.epoch
	return s.settled(ctx, "", func(ctx context.Context) error {
		answer, err := request.RequestWith(ctx, s.Client)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		if err != nil {
			return offsetsRefused(fmt.Errorf("AddOffsetsToTxn: %w", err), group, "")
		}
		return nil
	})
}

// AddPartitions tells the coordinator of partitions before records go there; nothing to do since KIP-890 part 2.
func (s *Session) AddPartitions(ctx context.Context, topic string, partitions []int32) error {
	if s.separate {
		return nil
	}
	request := kmsg.NewPtrAddPartitionsToTxnRequest()
	request.Version = 3
	request.TransactionalID, request.ProducerID, request.ProducerEpoch = s.id, s.producer, s.epoch
	about := kmsg.NewAddPartitionsToTxnRequestTopic()
	about.Topic = topic
	for _, partition := range partitions {
		if !s.added[partition] {
			about.Partitions = append(about.Partitions, partition)
		}
	}
	if len(about.Partitions) == 0 {
		return nil
	}
	request.Topics = append(request.Topics, about)
	err := s.settled(ctx, topic, func(ctx context.Context) error {
		answer, err := request.RequestWith(ctx, s.Client)
		if err != nil {
			return fmt.Errorf("AddPartitionsToTxn: %w", err)
		}
		for _, topic := range answer.Topics {
			for _, partition := range topic.Partitions {
				if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
					return fmt.Errorf("AddPartitionsToTxn of partition %d: %w", partition.Partition, err)
				}
			}
		}
		return nil
	})
	for _, partition := range about.Partitions {
		s.added[partition] = err == nil
	}
	return err
}

// End commits or aborts. After an error the outcome is not known: open a new session and look.
func (s *Session) End(ctx context.Context, commit bool) error {
	request := kmsg.NewPtrEndTxnRequest()
	request.TransactionalID, request.ProducerID, request.ProducerEpoch, request.Commit = s.id, s.producer, s.epoch, commit
	err := s.settled(ctx, "", func(ctx context.Context) error {
		answer, err := request.RequestWith(ctx, s.Client)
		if err == nil {
			err = kerr.ErrorForCode(answer.ErrorCode)
		}
		if err != nil {
			return fmt.Errorf("EndTxn: %w", err)
		}
		return s.next(answer)
	})
	clear(s.added)
	return err
}

// next takes the epoch of the transaction to come from the answer to EndTxn.
func (s *Session) next(answer *kmsg.EndTxnResponse) error {
	if !s.separate {
		return nil
	}
	if answer.Version < 5 || answer.ProducerID < 0 {
		return wire.Faultf("engine_failed", "EndTxn was answered in version %d on a cluster of transaction.version 2", answer.Version)
	}
	s.producer, s.epoch = answer.ProducerID, answer.ProducerEpoch
	clear(s.sequences)
	return nil
}
