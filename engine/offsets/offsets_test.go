package offsets

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/wire"
)

const topic = "t"

func client(t *testing.T, fake *kfake.Cluster, more ...kgo.Opt) *kgo.Client {
	t.Helper()
	made, err := kgo.NewClient(append(more, kgo.SeedBrokers(fake.ListenAddrs()...), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(made.Close)
	return made
}

func faked(t *testing.T) *kfake.Cluster {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, topic))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	return fake
}

// between acts once, after the first answer to ListOffsets.
type between struct {
	once sync.Once
	act  func()
}

func (b *between) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, _ kgo.BrokerE2E) {
	if key == int16(kmsg.ListOffsets) {
		b.once.Do(b.act)
	}
}

func TestARecordThatComesWhileATimeIsLookedUpIsNotSkipped(t *testing.T) {
	fake := faked(t)
	writer, wanted := client(t, fake), time.Now()
	asker := client(t, fake, kgo.WithHooks(&between{act: func() {
		record := &kgo.Record{Topic: topic, Value: []byte("new"), Timestamp: wanted.Add(time.Second)}
		if err := writer.ProduceSync(t.Context(), record).FirstErr(); err != nil {
			t.Error(err)
		}
	}}))
	found, err := At(t.Context(), asker, topic, wanted.UnixMilli())
	if err != nil {
		t.Fatal(err)
	}
	if found[0] != 0 {
		t.Errorf("begins at %d and skips the record at 0", found[0])
	}
}

func TestACoordinatorThatIsNotReadyIsNoHangingTransaction(t *testing.T) {
	defer func(was time.Duration) { settleTime = was }(settleTime)
	settleTime = 100 * time.Millisecond
	fake := faked(t)
	fake.ControlKey(int16(kmsg.OffsetFetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		asked := request.(*kmsg.OffsetFetchRequest)
		answer := asked.ResponseKind().(*kmsg.OffsetFetchResponse)
		one := kmsg.NewOffsetFetchResponseGroup()
		one.Group, one.ErrorCode = asked.Groups[0].Group, kerr.CoordinatorLoadInProgress.Code
		answer.Groups = append(answer.Groups, one)
		return answer, nil, true
	})
	_, err := Committed(t.Context(), client(t, fake, kgo.RequestRetries(0)), "g", topic, [16]byte{})
	var fault *wire.Fault
	if errors.As(err, &fault) || !errors.Is(err, kerr.CoordinatorLoadInProgress) {
		t.Errorf("says %v", err)
	}
}

func TestABusyMirrorsPositionsAreReadEachAtItsOwnMoment(t *testing.T) {
	fake := faked(t)
	asks := 0
	fake.ControlKey(int16(kmsg.OffsetFetch), func(request kmsg.Request) (kmsg.Response, error, bool) {
		fake.KeepControl()
		asked := request.(*kmsg.OffsetFetchRequest)
		answer := asked.ResponseKind().(*kmsg.OffsetFetchResponse)
		about := kmsg.NewOffsetFetchResponseGroupTopic()
		about.Topic = topic
		wanted := []int32{0, 1}
		if len(asked.Groups[0].Topics) > 0 {
			wanted = asked.Groups[0].Topics[0].Partitions
		}
		for _, p := range wanted { // at no moment are both decided
			one := kmsg.NewOffsetFetchResponseGroupTopicPartition()
			one.Partition, one.Offset = p, int64(10*asks)
			if p == int32(asks%2) {
				one.Offset, one.ErrorCode = -1, kerr.UnstableOffsetCommit.Code
			}
			about.Partitions = append(about.Partitions, one)
		}
		asks++
		group := kmsg.NewOffsetFetchResponseGroup()
		group.Group, group.Topics = asked.Groups[0].Group, append(group.Topics, about)
		answer.Groups = append(answer.Groups, group)
		return answer, nil, true
	})
	found, err := Committed(t.Context(), client(t, fake), "g", topic, [16]byte{})
	if err != nil || len(found) != 2 || found[1].Offset != 0 || found[0].Offset != 10 {
		t.Errorf("%v, %v", found, err)
	}
}
