// Command bench-peer is the other side of the measurements in tests/bench: it fills topics, reads and writes as fast as
// this client library can, watches a copy, and times deliveries. It is never shipped.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// asked is what the command line says; each task uses its part of it.
type asked struct {
	bootstrap  string
	topic      string
	follower   string
	group      string
	codec      string
	records    int64
	keys       int64
	hot        int64
	valueBytes int
	partitions int
	perSecond  float64
	seconds    float64
	warmUp     float64
}

type task func(context.Context, asked) (any, error)

var tasks = map[string]task{"produce": produce, "consume": consume, "watch": watch, "deliver": deliver}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	if len(arguments) == 0 || tasks[arguments[0]] == nil {
		return fmt.Errorf("usage: bench-peer produce|consume|watch|deliver -bootstrap HOST:PORT -topic NAME, and what the task needs")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	result, err := tasks[arguments[0]](ctx, parse(arguments))
	if err != nil {
		return fmt.Errorf("%s: %w", arguments[0], err)
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func parse(arguments []string) asked {
	var a asked
	flags := flag.NewFlagSet(arguments[0], flag.ExitOnError)
	flags.StringVar(&a.bootstrap, "bootstrap", "", "host:port of the cluster")
	flags.StringVar(&a.topic, "topic", "", "topic to write or read; the origin of a copy")
	flags.StringVar(&a.follower, "follower", "", "the copy")
	flags.StringVar(&a.group, "group", "", "group whose committed positions tell how far the copy is")
	flags.StringVar(&a.codec, "codec", "none", "none or lz4")
	flags.Int64Var(&a.records, "records", 1_000_000, "records to write, to read, or to wait for")
	flags.Int64Var(&a.keys, "keys", 100_000, "distinct keys of 20 bytes")
	flags.Int64Var(&a.hot, "hot", 0, "so many keys, others in each stage, have every second record")
	flags.IntVar(&a.valueBytes, "value-bytes", 200, "bytes of a value")
	flags.IntVar(&a.partitions, "partitions", 6, "partitions of the topic to read")
	flags.Float64Var(&a.perSecond, "per-second", 5000, "records a second to deliver")
	flags.Float64Var(&a.seconds, "seconds", 30, "seconds to deliver for")
	flags.Float64Var(&a.warmUp, "warm-up", 5, "seconds before that, not counted")
	_ = flags.Parse(arguments[1:]) // ExitOnError
	return a
}
