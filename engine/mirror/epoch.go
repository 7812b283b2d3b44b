package mirror

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/wire"
)

// said is a record of the control log as far as it bears on the epochs of pairs.
type said struct {
	V     int       `json:"v"`
	Type  string    `json:"type"`
	Pair  string    `json:"pair"`
	Term  int64     `json:"term"`
	Epoch uint32    `json:"epoch"`
	To    string    `json:"to"`
	Cut   *struct{} `json:"cut"`
	Also  []another `json:"also"`
}

// another is a further pair that a record is about.
type another struct {
	Pair  string    `json:"pair"`
	Epoch uint32    `json:"epoch"`
	Cut   *struct{} `json:"cut"`
}

// parts are the pairs that a record is about, each once.
func (s *said) parts() map[string]another {
	found := map[string]another{s.Pair: {s.Pair, s.Epoch, s.Cut}}
	for _, each := range s.Also {
		found[each.Pair] = each
	}
	return found
}

// hold is an attempt that is not decided: which pairs begin which epochs together, if it succeeds.
type hold struct {
	term  int64
	to    string
	parts map[string]another
}

// pairState is what the control log says of one pair.
type pairState struct {
	closed bool
	term   int64
	epoch  uint32
	hold   *hold
}

// pairLog is what the control log says of all pairs: their epochs, and the attempts to begin the next ones. The first word after HOLD
// decides, for all pairs that it names: a release that stands behind an instance's EXPIRED begins nothing. The same as
// cutover/protocol.py, compared by tests/golden/epochs.json.
type pairLog map[string]*pairState

var errUnreadable = errors.New("a record is none of the protocol's")

// take reads one record more.
func (l pairLog) take(value []byte) error {
	var record said
	if json.Unmarshal(value, &record) != nil || (record.V == 2) != (len(record.Also) > 0) {
		return errUnreadable
	}
	switch record.Type {
	case "PAIR":
		if l[record.Pair] == nil {
			l[record.Pair] = &pairState{}
		}
	case "JOIN", "LEAVE", "ACK", "UNTIL":
	case "HOLD", "SOURCE", "TARGET", "DUAL", "EXPIRED", "STOP", "READ", "CLOSE":
		if l.open(&record) {
			l.change(&record)
		}
	default:
		return errUnreadable
	}
	return nil
}

// open says whether every pair that a record is about is there and not closed.
func (l pairLog) open(record *said) bool {
	for name := range record.parts() {
		if l[name] == nil || l[name].closed {
			return false
		}
	}
	return true
}

func (l pairLog) change(record *said) {
	state := l[record.Pair]
	switch record.Type {
	case "HOLD":
		l.begin(record)
	case "EXPIRED":
		if state.hold != nil && state.hold.term == record.Term {
			l.end(state.hold)
		}
	case "STOP", "READ": // they count terms too
		l.count(record)
	case "CLOSE":
		l.end(state.hold)
		state.closed = true
	default:
		l.release(record)
	}
}

// epoch is a pair's; 0 of one that was never opened.
func (l pairLog) epoch(pair string) uint32 {
	if l[pair] == nil {
		return 0
	}
	return l[pair].epoch
}

// count raises terms: of all pairs that a STOP names or of none; a READ of several is of a STOP that has raised them.
func (l pairLog) count(record *said) {
	parts := record.parts()
	if len(parts) > 1 && record.Type == "READ" {
		return
	}
	for name := range parts {
		if record.Term <= l[name].term {
			return
		}
	}
	for name := range parts {
		l[name].term = record.Term
	}
}

func (l pairLog) begin(record *said) {
	asked := &hold{record.Term, record.To, record.parts()}
	for name, each := range asked.parts {
		if record.Term <= l[name].term || each.Epoch != l[name].epoch+1 {
			return
		}
	}
	for name := range asked.parts {
		l.end(l[name].hold)
		l[name].term, l[name].hold = record.Term, asked
	}
}

// end is for all pairs of a hold; a later one of theirs stays.
func (l pairLog) end(ended *hold) {
	if ended == nil {
		return
	}
	for name := range ended.parts {
		if l[name].hold == ended {
			l[name].hold = nil
		}
	}
}

func (l pairLog) release(record *said) {
	asked := l[record.Pair].hold
	if asked == nil || asked.term != record.Term {
		return
	}
	parts := record.parts()
	if record.Cut == nil {
		for name := range parts {
			if l[name].hold == nil || l[name].hold.term != record.Term {
				return
			}
		}
		for name := range parts {
			l.end(l[name].hold)
		}
		return
	}
	if record.Type != asked.to || len(parts) != len(asked.parts) {
		return
	}
	for name, each := range parts {
		if of, held := asked.parts[name]; !held || each.Cut == nil || each.Epoch != of.Epoch {
			return
		}
	}
	for name, each := range parts {
		l[name].epoch = each.Epoch
	}
	l.end(asked)
}

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
	now := pairLog{}
	var spoilt error
	whole := map[int32]span{0: {begins[0], ends[0]}}
	err = readRanges(ctx, config.Connection, clientID(config, "control"), config.ControlTopic, whole, func(record *kgo.Record) {
		if err := now.take(record.Value); err != nil && spoilt == nil {
			spoilt = wire.Faultf("control_unreadable", "record %d of %s: %v", record.Offset, config.ControlTopic, err).
				With(map[string]any{"topic": config.ControlTopic, "offset": record.Offset})
		}
	})
	if err := errors.Join(err, spoilt); err != nil {
		return err
	}
	if epoch := now.epoch(config.Pair); epoch != config.Epoch {
		return wire.Faultf("epoch_ended", "the pair is in epoch %d, this worker was started for epoch %d", epoch, config.Epoch).
			With(map[string]any{"epoch": epoch, "of_worker": config.Epoch})
	}
	return nil
}
