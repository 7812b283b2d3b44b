package transaction

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Append sends one batch to its partition's leader and returns the offset of its first record. Where it begins the
// transaction the broker may refuse it while the one before is being finished: then nothing was written, and it is sent again.
func (s *Session) Append(ctx context.Context, topic string, topicID [16]byte, broker int32, one *Batch) (int64, error) {
	request, offset := s.request(topic, topicID, []*Batch{one}), int64(-1)
	err := s.settled(ctx, topic, func(ctx context.Context) error {
		answer, err := s.Client.Broker(int(broker)).Request(ctx, request)
		if err != nil {
			return fmt.Errorf("Produce: %w", err)
		}
		topics := answer.(*kmsg.ProduceResponse).Topics
		if len(topics) != 1 || len(topics[0].Partitions) != 1 {
			return fmt.Errorf("Produce to partition %d was answered without it", one.Partition)
		}
		written := topics[0].Partitions[0]
		if err := kerr.ErrorForCode(written.ErrorCode); err != nil {
			return fmt.Errorf("Produce to partition %d: %w", written.Partition, err)
		}
		offset = written.BaseOffset
		return nil
	})
	return offset, err
}
