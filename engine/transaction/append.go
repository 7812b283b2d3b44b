package transaction

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Append sends one batch to its partition's leader and returns the offset of its first record.
func (s *Session) Append(ctx context.Context, topic string, topicID [16]byte, broker int32, one *Batch) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	answer, err := s.Client.Broker(int(broker)).Request(ctx, s.request(topic, topicID, []*Batch{one}))
	if err != nil {
		return -1, fmt.Errorf("Produce: %w", err)
	}
	topics := answer.(*kmsg.ProduceResponse).Topics
	if len(topics) != 1 || len(topics[0].Partitions) != 1 {
		return -1, fmt.Errorf("Produce to partition %d was answered without it", one.Partition)
	}
	written := topics[0].Partitions[0]
	if err := kerr.ErrorForCode(written.ErrorCode); err != nil {
		return -1, s.refused(fmt.Errorf("Produce to partition %d: %w", written.Partition, err), topic)
	}
	return written.BaseOffset, nil
}
