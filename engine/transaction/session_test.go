package transaction

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/offsets"
	"cutover/engine/wire"
)

const (
	topic = "t"
	group = "g"
)

type fixture struct {
	t       *testing.T
	fake    *kfake.Cluster
	to      wire.Connection
	cluster connect.Cluster
	client  *kgo.Client
	id      [16]byte
}

func fixed(t *testing.T) *fixture {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	f := &fixture{t: t, fake: fake, to: wire.Connection{BootstrapServers: fake.ListenAddrs()}}
	if f.client, err = connect.Client(f.to, "test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.client.Close)
	if f.cluster, err = connect.Describe(t.Context(), f.client); err != nil || !f.cluster.KIP890Part2() {
		t.Fatalf("the fake speaks %+v, %v", f.cluster, err)
	}
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(topic)
	request.Topics = append(request.Topics, about)
	answer, err := request.RequestWith(t.Context(), f.client)
	if err != nil {
		t.Fatal(err)
	}
	f.id = answer.Topics[0].TopicID
	return f
}

func (f *fixture) open() *Session {
	f.t.Helper()
	session, err := Open(f.t.Context(), f.to, f.cluster, "test", "lane", 10_000)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(session.Close)
	return session
}

// one is a batch of one record with a value of one byte.
func one(partition int32) *Batch {
	raw := append(make([]byte, BatchHeader), 0, 0, 0, 0)
	raw = binary.AppendVarint(raw[:BatchHeader], 7) // length of: attributes, time, offset, null key, value of 1, no headers
	raw = append(raw, 0, 0, 0, 1, 2, 'v', 0)
	return &Batch{Partition: partition, Bytes: raw, Records: 1, BaseMs: 1, MaxMs: 1}
}

func (f *fixture) commit(session *Session, offset int64) error {
	ctx := f.t.Context()
	if err := session.CommitOffsets(ctx, group, topic, f.id, []Position{{Partition: 0, Offset: offset, Metadata: "m"}}); err != nil {
		return err
	}
	if err := session.Produce(ctx, topic, f.id, map[int32][]*Batch{0: {one(0), one(1)}}); err != nil {
		return err
	}
	return session.End(ctx, true)
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// position is what the group has committed.
func (f *fixture) position() int64 {
	f.t.Helper()
	found, err := offsets.Committed(f.t.Context(), f.client, group, topic, f.id)
	f.must(err)
	if one, some := found[0]; some {
		return one.Offset
	}
	return -1
}

func TestRecordsAndPositionsAreCommittedTogether(t *testing.T) {
	f := fixed(t)
	session := f.open()
	for offset := range int64(3) {
		f.must(f.commit(session, offset+1))
	}
	if got := f.position(); got != 3 || !session.Clean() {
		t.Errorf("position %d, clean %v", got, session.Clean())
	}
	ends, err := offsets.Stable(t.Context(), f.client, topic)
	f.must(err)
	if ends[0] < 3 || ends[1] < 3 {
		t.Errorf("ends %v", ends)
	}
}

func TestEachTransactionHasAnEpochOfItsOwn(t *testing.T) {
	f := fixed(t)
	session := f.open()
	_, before := session.Producer()
	f.must(f.commit(session, 1))
	if _, after := session.Producer(); after != before+1 {
		t.Errorf("epoch %d after %d", after, before)
	}
}

func TestAnAbortedTransactionCommitsNoPosition(t *testing.T) {
	f := fixed(t)
	session := f.open()
	f.must(session.CommitOffsets(t.Context(), group, topic, f.id, []Position{{Partition: 0, Offset: 5}}))
	f.must(session.End(t.Context(), false))
	if got := f.position(); got != -1 {
		t.Errorf("position %d", got)
	}
}

func TestANewSessionFencesTheOneBefore(t *testing.T) {
	f := fixed(t)
	old := f.open()
	f.must(f.commit(old, 1))
	f.must(old.CommitOffsets(t.Context(), group, topic, f.id, []Position{{Partition: 0, Offset: 9}}))
	fresh := f.open()
	if err := old.End(t.Context(), true); err == nil {
		t.Error("the old session's commit is a success")
	}
	if err := f.commit(old, 9); !errors.Is(err, ErrFenced) {
		t.Errorf("the old session's next transaction: %v", err)
	}
	f.must(f.commit(fresh, 2))
	if got := f.position(); got != 2 {
		t.Errorf("position %d", got)
	}
}

func TestCallsWaitWhileTheTransactionBeforeSettles(t *testing.T) {
	f := fixed(t)
	session := f.open()
	var refused atomic.Int32
	f.fake.ControlKey(int16(kmsg.TxnOffsetCommit), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 5 {
			return nil, nil, false
		}
		f.fake.KeepControl()
		asked := request.(*kmsg.TxnOffsetCommitRequest)
		answer := asked.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		for _, about := range asked.Topics {
			one := kmsg.NewTxnOffsetCommitResponseTopic()
			one.Topic, one.TopicID = about.Topic, about.TopicID
			part := kmsg.NewTxnOffsetCommitResponseTopicPartition()
			part.ErrorCode = kerr.ConcurrentTransactions.Code
			one.Partitions = append(one.Partitions, part)
			answer.Topics = append(answer.Topics, one)
		}
		return answer, nil, true
	})
	f.must(f.commit(session, 1))
	if refused.Load() != 6 || f.position() != 1 {
		t.Errorf("%d tries, position %d", refused.Load(), f.position())
	}
}

func TestTheFirstRecordOfATransactionWaitsWhileTheOneBeforeSettles(t *testing.T) {
	f := fixed(t)
	session := f.open()
	var refused atomic.Int32
	f.fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		if refused.Add(1) > 3 {
			return nil, nil, false
		}
		f.fake.KeepControl()
		return refusing(request, f.id, 1, kerr.ConcurrentTransactions), nil, true
	})
	offset, err := session.Append(t.Context(), topic, f.id, 0, one(1))
	f.must(err)
	f.must(session.End(t.Context(), true))
	ends, err := offsets.Stable(t.Context(), f.client, topic)
	f.must(err)
	if refused.Load() != 4 || offset != 0 || ends[1] < 1 {
		t.Errorf("%d tries, offset %d, ends %v", refused.Load(), offset, ends)
	}
}

// refusing answers a Produce with an error for one partition.
func refusing(request kmsg.Request, id [16]byte, partition int32, why *kerr.Error) *kmsg.ProduceResponse {
	answer := request.ResponseKind().(*kmsg.ProduceResponse)
	about := kmsg.NewProduceResponseTopic()
	about.Topic, about.TopicID = topic, id
	part := kmsg.NewProduceResponseTopicPartition()
	part.Partition, part.ErrorCode, part.ErrorMessage = partition, why.Code, kmsg.StringPtr("words of the broker")
	about.Partitions = append(about.Partitions, part)
	answer.Topics = append(answer.Topics, about)
	return answer
}

func TestOpeningWaitsForTheCoordinatorButNotForOneThatMoved(t *testing.T) {
	f := fixed(t)
	answers := []int16{kerr.ConcurrentTransactions.Code, kerr.CoordinatorLoadInProgress.Code, 0, kerr.NotCoordinator.Code}
	var at atomic.Int32
	f.fake.ControlKey(int16(kmsg.InitProducerID), func(request kmsg.Request) (kmsg.Response, error, bool) {
		code := answers[at.Add(1)-1]
		if int(at.Load()) < len(answers) {
			f.fake.KeepControl()
		}
		if code == 0 {
			return nil, nil, false
		}
		answer := request.ResponseKind().(*kmsg.InitProducerIDResponse)
		answer.ErrorCode = code
		return answer, nil, true
	})
	f.open()
	if _, err := Open(t.Context(), f.to, f.cluster, "test", "lane", 10_000); !errors.Is(err, kerr.NotCoordinator) {
		t.Errorf("it kept asking a broker that is not the coordinator: %v", err)
	}
}

func TestARefusedBatchNamesItsPartition(t *testing.T) {
	f := fixed(t)
	session := f.open()
	f.fake.ControlKey(int16(kmsg.Produce), func(request kmsg.Request) (kmsg.Response, error, bool) {
		return refusing(request, f.id, 1, kerr.MessageTooLarge), nil, true
	})
	var refused *BatchRefused
	if err := f.commit(session, 1); !errors.As(err, &refused) || refused.Partition != 1 || refused.Words != ": words of the broker" {
		t.Errorf("%v", err)
	}
}

// cutter is a TCP relay that can close the connections through it.
type cutter struct {
	address string
	cut     chan struct{}
}

func relay(t *testing.T, target string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	c := &cutter{listener.Addr().String(), make(chan struct{})}
	go func() {
		for {
			near, err := listener.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			go func() { _, _ = io.Copy(far, near); far.Close() }()
			go func() { _, _ = io.Copy(near, far); near.Close() }()
			go func() { <-c.cut; near.Close(); far.Close() }()
		}
	}()
	return c
}

func TestABrokenConnectionUnderATransactionIsRemembered(t *testing.T) {
	f := fixed(t)
	session := f.open()
	f.fake.ControlKey(int16(kmsg.EndTxn), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("the broker hangs up"), true
	})
	if err := f.commit(session, 1); err == nil {
		t.Fatal("a commit without an answer is a success")
	}
	if session.Clean() {
		t.Error("the session counts as clean")
	}
}

func TestABrokenConnectionOutsideOfTransactionsIsNot(t *testing.T) {
	f := fixed(t)
	session := f.open()
	f.fake.ControlKey(int16(kmsg.ListOffsets), func(kmsg.Request) (kmsg.Response, error, bool) {
		return nil, errors.New("the broker hangs up"), true
	})
	_, _ = offsets.Begin(t.Context(), session.Client, topic)
	if !session.Clean() {
		t.Error("the session counts as broken")
	}
}

func TestNobodyAtTheAddressIsUnreachableWithinAFewSeconds(t *testing.T) {
	c := relay(t, "127.0.0.1:1")
	close(c.cut)
	began := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := Open(ctx, wire.Connection{BootstrapServers: []string{c.address}}, connect.Cluster{TransactionVersion: 2}, "test", "lane", 10_000); err == nil {
		t.Error("a session without a cluster")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestAPartitionThatIsNotAnsweredIsNoSuccess(t *testing.T) {
	f := fixed(t)
	session := f.open()
	f.fake.ControlKey(int16(kmsg.Produce), func(asked kmsg.Request) (kmsg.Response, error, bool) {
		answer := asked.ResponseKind().(*kmsg.ProduceResponse)
		answer.Version = asked.GetVersion()
		return answer, nil, true
	})
	f.must(session.CommitOffsets(t.Context(), group, topic, f.id, []Position{{Partition: 0, Offset: 1}}))
	if err := session.Produce(t.Context(), topic, f.id, map[int32][]*Batch{0: {one(0)}}); err == nil {
		t.Error("an answer without the partition was taken for an acknowledgement")
	}
	f.fake.ControlKey(int16(kmsg.TxnOffsetCommit), func(asked kmsg.Request) (kmsg.Response, error, bool) {
		answer := asked.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
		answer.Version = asked.GetVersion()
		return answer, nil, true
	})
	if err := session.CommitOffsets(t.Context(), group, topic, f.id, []Position{{Partition: 0, Offset: 2}}); err == nil {
		t.Error("an answer without the partition was taken for a written position")
	}
}
