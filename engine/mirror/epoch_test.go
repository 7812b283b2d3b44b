package mirror

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
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

// spoken is a batch of one control record.
func spoken(words string) *transaction.Batch {
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

// write appends a pair and an attempt to begin an epoch up to this record.
func write(t *testing.T, driver *transaction.Session, config wire.Mirror, kind string, epoch int) {
	t.Helper()
	for _, words := range []string{
		fmt.Sprintf(`{"type":"PAIR","pair":%q}`, config.Pair),
		fmt.Sprintf(`{"type":"HOLD","pair":%q,"term":1,"epoch":%d,"to":%q}`, config.Pair, epoch, kind),
		fmt.Sprintf(`{"type":%q,"pair":%q,"term":1,"epoch":%d,"cut":{"source":{},"target":{}}}`, kind, config.Pair, epoch),
	} {
		say(t, driver, words)
	}
}

func say(t *testing.T, driver *transaction.Session, words string) {
	t.Helper()
	request := kmsg.NewPtrMetadataRequest()
	about := kmsg.NewMetadataRequestTopic()
	about.Topic = kmsg.StringPtr(control)
	request.Topics = append(request.Topics, about)
	known, err := request.RequestWith(t.Context(), driver.Client)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := driver.Append(t.Context(), control, known.Topics[0].TopicID, known.Topics[0].Partitions[0].Leader, spoken(words)); err != nil {
		t.Fatal(err)
	}
}

// logs are the vectors of tests/golden/epochs.json.
type logs []struct {
	Pair    string   `json:"pair"`
	Epoch   uint32   `json:"epoch"`
	Records []string `json:"records"`
}

func TestTheControlLogMeansWhatTheProtocolSays(t *testing.T) {
	raw, err := os.ReadFile("../../tests/golden/epochs.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases logs
	if err := json.Unmarshal(raw, &cases); err != nil || len(cases) < 100 {
		t.Fatalf("%d cases: %v", len(cases), err)
	}
	for i, each := range cases {
		read := pairLog{}
		for _, words := range each.Records {
			if err := read.take([]byte(words)); err != nil {
				t.Fatalf("case %d: %s: %v", i, words, err)
			}
		}
		if read.epoch(each.Pair) != each.Epoch {
			t.Errorf("case %d: epoch %d, the protocol says %d", i, read.epoch(each.Pair), each.Epoch)
		}
	}
}

func TestARecordThatIsNoneOfTheProtocolsEndsTheReading(t *testing.T) {
	for _, words := range []string{"", "no JSON", `{"type":"SURPRISE","pair":"p"}`, `{"pair":"p"}`, "[]", `{"type":"HOLD","term":"1"}`, `{"v":2,"type":"HOLD","pair":"p"}`} {
		if err := (pairLog{}).take([]byte(words)); err == nil {
			t.Errorf("%q is taken for a record", words)
		}
	}
}

func TestAReleaseBehindAnExpiredBeginsNoEpoch(t *testing.T) {
	config, client, driver := controlled(t)
	for _, words := range []string{
		`{"type":"PAIR","pair":"p"}`,
		`{"type":"HOLD","pair":"p","term":1,"epoch":1,"to":"TARGET"}`,
		`{"type":"EXPIRED","pair":"p","term":1,"instance":"i"}`,
		`{"type":"TARGET","pair":"p","term":1,"epoch":1,"cut":{"source":{},"target":{}}}`,
	} {
		say(t, driver, words)
	}
	if err := driver.End(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if err := stillOurs(t.Context(), client, config); err != nil {
		t.Error(err)
	}
	say(t, driver, "no JSON")
	if err := driver.End(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	var fault *wire.Fault
	if err := stillOurs(t.Context(), client, config); !errors.As(err, &fault) || fault.Name != "control_unreadable" {
		t.Errorf("%v", err)
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
