// Package mirror copies an origin topic to a follower with another number of partitions, exactly once.
//
// A worker joins the group of the run and is dealt lanes; each lane is fenced, recovered and copied by itself
// (lane.go); what is there to copy is filled into transactions while the one before commits (filler.go).
package mirror

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/connect"
	"cutover/engine/offsets"
	"cutover/engine/position"
	"cutover/engine/provenance"
	"cutover/engine/wire"
)

const (
	heapLimitBytes = 200 << 20       // a worker stays below 300 MB resident; the runtime collects harder as it comes near this
	newTopic       = 3 * time.Second // until every broker knows a topic that was just made
)

// Run is the whole life of a worker: it returns nil when it was stopped or left alone for its grace time.
func Run(ctx context.Context, config wire.Mirror, to *wire.Server, version string) error {
	debug.SetMemoryLimit(heapLimitBytes)
	if err := complete(&config); err != nil {
		return err
	}
	cluster, err := connect.Reach(ctx, config.Connection, clientID(config, "watch"))
	if err != nil {
		return err
	}
	client, err := connect.Client(config.Connection, clientID(config, "watch"))
	if err != nil {
		return err
	}
	defer client.Close()
	for _, topic := range []wire.Topic{config.Origin, config.Follower} {
		if err := isThere(ctx, client, topic); err != nil {
			return err
		}
	}
	if err := followerIsOurs(ctx, client, config); err != nil {
		return err
	}
	to.Emit(wire.Ready{Event: "ready", Role: "mirror", Worker: config.Worker, PID: os.Getpid(), Version: version,
		ClusterID: cluster.ID, TransactionVersion: cluster.TransactionVersion, KIP890Part2: cluster.KIP890Part2()})
	return newWorker(config, cluster, client, to).run(ctx)
}

// complete checks the configuration and fills what may be left out.
func complete(config *wire.Mirror) error {
	if config.Origin.Partitions < 1 || config.Follower.Partitions < 1 || config.Group == "" || config.Run == "" {
		return wire.Faultf("bad_configuration", "the configuration names no run, no group or no partitions")
	}
	if _, err := route(*config); err != nil {
		return err
	}
	if config.Lanes < 1 || config.Lanes > config.Origin.Partitions {
		return wire.Faultf("bad_configuration", "%d lanes for %d partitions", config.Lanes, config.Origin.Partitions)
	}
	if len(config.Walls) == 0 {
		config.Walls = nil
	}
	if err := wholeWalls(config.Walls, config.Origin.Partitions); err != nil {
		return wire.Faultf("bad_configuration", "walls: the configuration %v", err)
	}
	if config.Start.Kind == "offsets" {
		if err := wholeWalls(config.Start.Offsets, config.Origin.Partitions); err != nil || config.Start.Offsets == nil {
			return wire.Faultf("bad_configuration", "start at offsets needs one for each of %d partitions", config.Origin.Partitions)
		}
	}
	if len(config.FollowerStart) != 0 {
		if err := wholeWalls(config.FollowerStart, config.Follower.Partitions); err != nil {
			return wire.Faultf("bad_configuration", "follower_start: the configuration %v", err)
		}
	}
	if !slices.Contains([]string{"earliest", "latest", "time", "offsets"}, config.Start.Kind) {
		return wire.Faultf("bad_configuration", "start %q is not earliest, latest, time or offsets", config.Start.Kind)
	}
	if config.TransactionTimeoutMs == 0 {
		config.TransactionTimeoutMs = 10_000
	}
	if config.TransactionTimeoutMs < 0 || config.MinIntervalMs < 0 {
		return wire.Faultf("bad_configuration", "a timeout or an interval is negative")
	}
	return nil
}

// isThere checks a topic at the start; one that was made a moment ago may not be known to every broker yet.
func isThere(ctx context.Context, client *kgo.Client, topic wire.Topic) error {
	for deadline := time.Now().Add(newTopic); ; {
		_, err := leadersOf(ctx, client, topic)
		var fault *wire.Fault
		gone := errors.As(err, &fault) && fault.Name == "topic_gone"
		switch {
		case gone && time.Now().After(deadline):
			return wire.Faultf("unknown_topic", "the cluster lists no topic %s", topic.Name).With(map[string]any{"topic": topic.Name})
		case !gone && (err == nil || !kerr.IsRetriable(err) || time.Now().After(deadline)):
			return err
		}
		sleep(ctx, 50*time.Millisecond)
		if ctx.Err() != nil {
			return err
		}
	}
}

// followerIsOurs refuses a follower that holds records before the run has committed anything. A follower that was written
// until this epoch began holds them by right below the start, and those of stragglers past it: both are the audit's to judge.
func followerIsOurs(ctx context.Context, client *kgo.Client, config wire.Mirror) error {
	if len(config.FollowerStart) > 0 {
		return nil
	}
	// Not the stable ones: what a dead worker left open is pending until its lane is fenced.
	positions, err := offsets.Decided(ctx, client, config.Group, config.Origin.Name, config.Origin.ID)
	if err != nil {
		return err
	}
	for _, one := range positions {
		if mark, ours := position.Parse(one.Metadata); ours && mark.Run == config.RunID {
			return nil
		}
	}
	begins, err := offsets.Begin(ctx, client, config.Follower.Name)
	if err != nil {
		return err
	}
	ends, err := offsets.Stable(ctx, client, config.Follower.Name)
	if err != nil {
		return err
	}
	ranges := map[int32]span{}
	for p, end := range ends {
		ranges[p] = span{begins[p], min(end, begins[p]+tailRecords)}
	}
	foreign, first := 0, &kgo.Record{}
	err = readRanges(ctx, config.Connection, clientID(config, "watch"), config.Follower.Name, ranges, func(record *kgo.Record) {
		if origin, mirrored := provenance.Of(record); !mirrored || origin.Run != config.RunID {
			if foreign == 0 {
				first = record
			}
			foreign++
		}
	})
	if err == nil && foreign > 0 {
		return wire.Faultf("foreign_records", "%s already holds records that this run did not write: the first is at partition %d, offset %d",
			config.Follower.Name, first.Partition, first.Offset).
			With(map[string]any{"topic": config.Follower.Name, "partition": first.Partition, "offset": first.Offset})
	}
	return err
}
