package mirror

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"cutover/engine/connect"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

const control = "_cutover.control"

// said is a batch of one control record.
func said(words string) *transaction.Batch {
	body := []byte{0, 0, 0, 1} // attributes, time, offset, no key
	body = append(binary.AppendVarint(body, int64(len(words))), words...)
	body = append(body, 0)
	raw := append(binary.AppendVarint(make([]byte, transaction.BatchHeader), int64(len(body))), body...)
	return &transaction.Batch{Bytes: raw, Records: 1, BaseMs: 1, MaxMs: 1}
}

// controlled gives a worker's configuration for epoch 0, its client, and a driver that writes the control topic.
func controlled(t *testing.T) (wire.Mirror, *kgo.Client, *transaction.Session) {
	t.Helper()
	fake, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, control))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(fake.Close)
	config := settings()
	config.Connection.BootstrapServers, config.ControlTopic, config.Pair = fake.ListenAddrs(), control, "p"
	client, err := connect.Client(config.Connection, "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	cluster, err := connect.Describe(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	driver, err := transaction.Open(t.Context(), config.Connection, cluster, "test", "driver", 10_000)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(driver.Close)
	return config, client, driver
}

func write(t *testing.T, driver *transaction.Session, config wire.Mirror, kind string, epoch int) {
	t.Helper()
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(control)
	request.Topics = append(request.Topics, about)
	known, err := request.RequestWith(t.Context(), driver.Client)
	if err != nil {
		t.Fatal(err)
	}
	words := fmt.Sprintf(`{"type":%q,"pair":%q,"epoch":%d}`, kind, config.Pair, epoch)
	if _, err := driver.Append(t.Context(), control, known.Topics[0].TopicID, known.Topics[0].Partitions[0].Leader, said(words)); err != nil {
		t.Fatal(err)
	}
}

func epochEnded(err error) bool {
	var fault *wire.Fault
	return errors.As(err, &fault) && fault.Name == "epoch_ended"
}

func TestAnEpochThatIsBeingEndedIsNotTakenForOurs(t *testing.T) {
	config, client, driver := controlled(t)
	write(t, driver, config, "TARGET", 1)
	ended := make(chan error, 1)
	go func() { ended <- stillOurs(t.Context(), client, config) }()
	select {
	case err := <-ended:
		t.Fatalf("decided (%v) while the record that decides is pending", err)
	case <-time.After(300 * time.Millisecond):
	}
	if err := driver.End(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !epochEnded(err) {
		t.Errorf("the epoch is over, and the worker says %v", err)
	}
}

func TestAnEpochWhoseEndWasTakenBackIsOurs(t *testing.T) {
	config, client, driver := controlled(t)
	write(t, driver, config, "TARGET", 1)
	if err := driver.End(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := stillOurs(ctx, client, config); err != nil {
		t.Error(err)
	}
}
