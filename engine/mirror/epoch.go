package mirror

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/wire"
)

// decisive is what a control record that begins an epoch says; other kinds leave Epoch as it was.
type decisive struct {
	Type  string `json:"type"`
	Pair  string `json:"pair"`
	Epoch uint32 `json:"epoch"`
}

var beginsEpoch = map[string]bool{"SOURCE": true, "TARGET": true, "DUAL": true}

// stillOurs reads the control topic to its end, after fencing, and stops when the pair's epoch is another one: so a
// worker that slept through a flip copies nothing.
func stillOurs(ctx context.Context, client *kgo.Client, config wire.Mirror) error {
	if config.ControlTopic == "" {
		return nil
	}
	// To its settled end: a record that ends the epoch may be there and still be pending.
	begins, ends, err := settledRange(ctx, client, config.ControlTopic, []int32{0}, config.TransactionTimeoutMs)
	if errors.Is(err, kerr.UnknownTopicOrPartition) || err == nil && len(ends) != 1 {
		return wire.Faultf("control_unreadable", "control topic %s is missing or has not one partition", config.ControlTopic)
	}
	if err != nil {
		return err
	}
	now := uint32(0)
	whole := map[int32]span{0: {begins[0], ends[0]}}
	err = readRanges(ctx, config.Connection, clientID(config, "control"), config.ControlTopic, whole, func(record *kgo.Record) {
		var said decisive
		if json.Unmarshal(record.Value, &said) == nil && said.Pair == config.Pair && beginsEpoch[said.Type] {
			now = said.Epoch
		}
	})
	if err != nil {
		return err
	}
	if now != config.Epoch {
		return wire.Faultf("epoch_ended", "the pair is in epoch %d, this worker was started for epoch %d", now, config.Epoch).
			With(map[string]any{"epoch": now, "of_worker": config.Epoch})
	}
	return nil
}
