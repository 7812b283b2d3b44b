package transaction

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// BatchHeader is the size of a record batch (format 2) before its records.
const BatchHeader = 61

const (
	magic            = 2
	isTransactional  = 0x10
	afterLength      = 12 // batchLength counts from here
	crcStart         = 21
	produceTimeoutMs = 5000
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one record batch on its way to one partition. Bytes holds BatchHeader free bytes, then the records,
// compressed with Codec (Kafka's numbers, 0 to 4).
type Batch struct {
	Partition int32
	Bytes     []byte
	Records   int32
	BaseMs    int64
	MaxMs     int64
	Codec     int16
}

// Seal writes the header: who produces it, where it stands in the producer's sequence, and the checksum.
func (b *Batch) Seal(producer int64, epoch int16, sequence int32) {
	head := b.Bytes
	binary.BigEndian.PutUint64(head[0:], 0)
	binary.BigEndian.PutUint32(head[8:], uint32(len(head)-afterLength))
	binary.BigEndian.PutUint32(head[12:], ^uint32(0)) // partition leader epoch: the broker's to fill
	head[16] = magic
	binary.BigEndian.PutUint16(head[21:], uint16(b.Codec)|isTransactional)
	binary.BigEndian.PutUint32(head[23:], uint32(b.Records-1))
	binary.BigEndian.PutUint64(head[27:], uint64(b.BaseMs))
	binary.BigEndian.PutUint64(head[35:], uint64(b.MaxMs))
	binary.BigEndian.PutUint64(head[43:], uint64(producer))
	binary.BigEndian.PutUint16(head[51:], uint16(epoch))
	binary.BigEndian.PutUint32(head[53:], uint32(sequence))
	binary.BigEndian.PutUint32(head[57:], uint32(b.Records))
	binary.BigEndian.PutUint32(head[17:], crc32.Checksum(head[crcStart:], castagnoli))
}

// Produce sends at most one batch per partition to each broker and waits until all in-sync replicas have them.
func (s *Session) Produce(ctx context.Context, topic string, topicID [16]byte, byBroker map[int32][]*Batch) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	failures := make(chan error, len(byBroker))
	for broker, batches := range byBroker {
		request := s.request(topic, topicID, batches)
		if len(byBroker) == 1 {
			return s.send(ctx, broker, request)
		}
		go func() { failures <- s.send(ctx, broker, request) }()
	}
	var all []error
	for range byBroker {
		all = append(all, <-failures)
	}
	return errors.Join(all...)
}

func (s *Session) send(ctx context.Context, broker int32, request *kmsg.ProduceRequest) error {
	answer, err := s.Client.Broker(int(broker)).Request(ctx, request)
	if err != nil {
		return fmt.Errorf("Produce: %w", err)
	}
	answered := 0
	for _, topic := range answer.(*kmsg.ProduceResponse).Topics {
		for _, partition := range topic.Partitions {
			answered++
			if err := kerr.ErrorForCode(partition.ErrorCode); err != nil {
				return s.refused(&BatchRefused{Partition: partition.Partition, Words: words(partition), err: err}, request.Topics[0].Topic)
			}
		}
	}
	return whole("Produce", answered, len(request.Topics[0].Partitions))
}

// whole is an error unless every partition that was asked for was answered: silence is no success.
func whole(call string, answered, asked int) error {
	if answered != asked {
		return fmt.Errorf("%s: %d of %d partitions were answered", call, answered, asked)
	}
	return nil
}

// BatchRefused says that the broker did not take the batch of one partition.
type BatchRefused struct {
	Partition int32
	Words     string // the broker's own, if it said more than a code
	err       error
}

// Refuse is a refusal with one of Kafka's errors.
func Refuse(partition int32, err error) *BatchRefused {
	return &BatchRefused{Partition: partition, err: err}
}

// Error names the partition.
func (b *BatchRefused) Error() string {
	return fmt.Sprintf("Produce to partition %d: %v%s", b.Partition, b.err, b.Words)
}

// Unwrap gives Kafka's error.
func (b *BatchRefused) Unwrap() error { return b.err }

func words(of kmsg.ProduceResponseTopicPartition) string {
	said := ""
	if of.ErrorMessage != nil {
		said += ": " + *of.ErrorMessage
	}
	for _, record := range of.ErrorRecords {
		if record.ErrorMessage != nil {
			said += ": " + *record.ErrorMessage
		}
	}
	return said
}

func (s *Session) request(topic string, topicID [16]byte, batches []*Batch) *kmsg.ProduceRequest {
	request := kmsg.NewPtrProduceRequest()
	request.TransactionID, request.Acks, request.TimeoutMillis = &s.id, -1, produceTimeoutMs
	about := kmsg.NewProduceRequestTopic()
	about.Topic, about.TopicID = topic, topicID
	for _, batch := range batches {
		batch.Seal(s.producer, s.epoch, s.sequences[batch.Partition])
		s.sequences[batch.Partition] = (s.sequences[batch.Partition] + batch.Records) & 0x7fffffff
		one := kmsg.NewProduceRequestTopicPartition()
		one.Partition, one.Records = batch.Partition, batch.Bytes
		about.Partitions = append(about.Partitions, one)
	}
	request.Topics = append(request.Topics, about)
	return request
}
