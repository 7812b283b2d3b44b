// Command cutover-engine moves, judges and translates records for cutover: one role per process.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"cutover/engine/audit"
	"cutover/engine/control"
	"cutover/engine/dualaudit"
	"cutover/engine/mirror"
	"cutover/engine/wire"
)

var version = "unknown"

// A role reads its configuration and gives the part all roles share, and what to run.
type role struct {
	config any
	common *wire.Common
	run    func(context.Context, *wire.Server, string) error
}

func roles() map[string]role {
	mirrored, audited, dual, controlled := &wire.Mirror{}, &wire.Audit{}, &wire.DualAudit{}, &wire.Control{}
	return map[string]role{
		"mirror": {mirrored, &mirrored.Common, func(ctx context.Context, to *wire.Server, v string) error {
			return mirror.Run(ctx, *mirrored, to, v)
		}},
		"audit": {audited, &audited.Common, func(ctx context.Context, to *wire.Server, v string) error {
			return audit.Run(ctx, *audited, to, v)
		}},
		"dual-audit": {dual, &dual.Common, func(ctx context.Context, to *wire.Server, v string) error {
			return dualaudit.Run(ctx, *dual, to, v)
		}},
		"control": {controlled, &controlled.Common, func(ctx context.Context, to *wire.Server, v string) error {
			return control.Run(ctx, *controlled, to, v)
		}},
	}
}

func main() {
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println(version)
		return
	}
	chosen, known := role{}, false
	if len(os.Args) == 2 {
		chosen, known = roles()[os.Args[1]]
	}
	if !known {
		fmt.Fprintln(os.Stderr, "usage: cutover-engine mirror|audit|dual-audit|control < configuration.json")
		os.Exit(2)
	}
	if err := serve(chosen); err != nil {
		line, _ := json.Marshal(wire.Fatal{Event: "fatal", Error: wire.AsFault(err)})
		fmt.Fprintln(os.Stderr, string(line))
		if wire.AsFault(err).Name == "bad_configuration" {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

func serve(chosen role) error {
	if err := wire.Read(os.Stdin, chosen.config, chosen.common); err != nil {
		return err
	}
	grace := time.Duration(chosen.common.GraceSeconds * float64(time.Second))
	server, err := wire.Listen(chosen.common.Socket, max(grace, time.Second))
	if err != nil {
		return err
	}
	defer server.Close()
	wire.Announce(os.Stdout)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := chosen.run(ctx, server, version); err != nil {
		server.Emit(wire.Fatal{Event: "fatal", Error: wire.AsFault(err)})
		return err
	}
	return nil
}
