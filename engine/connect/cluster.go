package connect

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"cutover/engine/wire"
)

// First contact is given up after this long; refused credentials and certificates end it at once.
const firstContact = 6 * time.Second

// Cluster is what a cluster says of itself.
type Cluster struct {
	ID                 string
	TransactionVersion int16
}

// KIP890Part2 reports whether each transaction gets an epoch of its own (transaction.version 2 or above).
func (c Cluster) KIP890Part2() bool { return c.TransactionVersion >= 2 }

// TransactionOptions holds a client of a cluster below transaction.version 2 to the protocol that goes with it.
func (c Cluster) TransactionOptions() []kgo.Opt {
	if c.KIP890Part2() {
		return nil
	}
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 11)
	versions.SetMaxKeyVersion(int16(kmsg.AddPartitionsToTxn), 3) // later ones are for brokers among themselves
	versions.SetMaxKeyVersion(int16(kmsg.TxnOffsetCommit), 4)
	versions.SetMaxKeyVersion(int16(kmsg.EndTxn), 4)
	return []kgo.Opt{kgo.MaxVersions(versions)}
}

// Reach makes first contact and asks the cluster for its id and its finalized transaction.version.
func Reach(ctx context.Context, to wire.Connection, clientID string) (Cluster, error) {
	client, err := Client(to, clientID, kgo.RequestRetries(0))
	if err != nil {
		return Cluster{}, err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(ctx, firstContact)
	defer cancel()
	var last error
	for {
		found, err := Describe(ctx, client)
		var fault *wire.Fault
		switch {
		case err == nil, errors.As(err, &fault) && fault.Name != "unreachable":
			return found, err
		case ctx.Err() != nil && last != nil:
			return found, last // says more than that the time is over
		}
		last = err
		select {
		case <-ctx.Done():
			return found, last
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Describe asks for the cluster's id and its finalized transaction.version.
func Describe(ctx context.Context, client *kgo.Client) (Cluster, error) {
	ask := kmsg.NewPtrApiVersionsRequest()
	ask.ClientSoftwareName, ask.ClientSoftwareVersion = "cutover-engine", "1"
	versions, err := ask.RequestWith(ctx, client)
	if err != nil {
		return Cluster{}, Unreachable(err)
	}
	none := kmsg.NewPtrMetadataRequest()
	none.Topics = []kmsg.MetadataRequestTopic{} // an empty list asks for no topic, nil for all
	metadata, err := none.RequestWith(ctx, client)
	if err != nil {
		return Cluster{}, Unreachable(err)
	}
	described := Cluster{}
	if metadata.ClusterID != nil {
		described.ID = *metadata.ClusterID
	}
	for _, feature := range versions.FinalizedFeatures {
		if feature.Name == "transaction.version" {
			described.TransactionVersion = feature.MaxVersionLevel
		}
	}
	return described, nil
}

// IsUnknownTopic reports that a broker does not know a topic, by name or by id.
func IsUnknownTopic(err error) bool {
	return errors.Is(err, kerr.UnknownTopicOrPartition) || errors.Is(err, kerr.UnknownTopicID)
}
