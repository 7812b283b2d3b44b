// Package control is the driver's own hand on a cluster: group positions and control records written transactionally under
// one transactional id, which is the driver's fence, and translations, which write nothing.
//
// The outcome of a transaction is said with one of three words: done (a result), not done (any fault but one), and
// `ambiguous` (it may or may not have happened). A process whose id was taken by another is `fenced` for ever.
package control

import (
	"context"
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/connect"
	"cutover/engine/translate"
	"cutover/engine/wire"
)

// Positions are written in short transactions, so that one that is left open stalls nobody for long.
const defaultTimeoutMs = 2000

// queued commands wait for the one that is being carried out.
const queued = 64

// Run is the whole life of one process of this role. Without a transactional id it translates and fences others, and
// writes nothing of its own.
func Run(ctx context.Context, config wire.Control, to *wire.Server, version string) error {
	if config.TransactionTimeoutMs == 0 {
		config.TransactionTimeoutMs = defaultTimeoutMs
	}
	cluster, err := connect.Reach(ctx, config.Connection, config.Worker)
	if err != nil {
		return err
	}
	client, err := connect.Client(config.Connection, config.Worker, kgo.BrokerMaxReadBytes(96<<20))
	if err != nil {
		return err
	}
	defer client.Close()
	hand := &writer{config: config, cluster: cluster, client: client}
	if config.TransactionalID != "" {
		if err := hand.take(ctx); err != nil {
			return err
		}
	}
	defer hand.close()
	to.Emit(wire.Ready{Event: "ready", Role: "control", Worker: config.Worker, PID: os.Getpid(), Version: version,
		ClusterID: cluster.ID, TransactionVersion: cluster.TransactionVersion, KIP890Part2: cluster.KIP890Part2()})
	return serve(ctx, to, client, hand)
}

// serve obeys: writes one after another in the order they came, translations beside them.
func serve(ctx context.Context, to *wire.Server, client *kgo.Client, hand *writer) error {
	ctx, cancel := context.WithCancel(ctx)
	writes, written := make(chan wire.Command, queued), make(chan struct{})
	go func() {
		defer close(written)
		for command := range writes {
			result, err := hand.obey(ctx, command)
			to.Reply(command, result, err)
		}
	}()
	reason := listen(ctx, to, client, writes)
	close(writes)
	if ctx.Err() != nil {
		cancel()
	}
	<-written // what was asked for before is still carried out, and the one who asked is told
	cancel()
	to.Emit(wire.Stopped{Event: "stopped", Reason: reason})
	return nil
}

func listen(ctx context.Context, to *wire.Server, client *kgo.Client, writes chan<- wire.Command) string {
	for {
		select {
		case <-ctx.Done():
			return "signalled"
		case <-to.Grace:
			return "nobody was connected for the grace time"
		case command := <-to.Commands:
			switch command.Name {
			case "stop":
				to.Reply(command, nil, nil)
				return why(command)
			case "translate":
				go func() {
					answer, err := answered(ctx, client, command)
					to.Reply(command, answer, err)
				}()
			default:
				select {
				case writes <- command:
				default:
					to.Reply(command, nil, wire.Faultf("bad_command", "%d commands are waiting already", queued))
				}
			}
		}
	}
}

func why(stop wire.Command) string {
	var said struct {
		Reason string `json:"reason"`
	}
	if stop.Decode(&said) != nil || said.Reason == "" {
		return "told to stop"
	}
	return fmt.Sprintf("told to stop: %s", said.Reason)
}

func answered(ctx context.Context, client *kgo.Client, command wire.Command) (*translate.Answer, error) {
	var request translate.Request
	if err := command.Decode(&request); err != nil {
		return nil, err
	}
	return translate.Do(ctx, client, request)
}
