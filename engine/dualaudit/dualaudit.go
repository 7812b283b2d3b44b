// Package dualaudit proves that two topics to which producers write every record themselves hold the same records in the same order
// per key, or says where they do not. It reads both, committed records only, and writes nothing.
//
// What is pending and what differs is the match package's; this one reads, places and tells. docs/audit.md says what it shows.
package dualaudit

import (
	"cmp"
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"cutover/engine/audit"
	"cutover/engine/audit/scan"
	"cutover/engine/connect"
	"cutover/engine/dualaudit/match"
	"cutover/engine/wire"
)

const (
	defaultSamples  = 10
	defaultPatience = 10_000
	heapLimitBytes  = 320 << 20              // the runtime collects harder as it comes near this
	glance          = 100 * time.Millisecond // between looks for what is new; a command is obeyed at once
	untilMs         = 10_000
	settleShare     = 5 // settling what is on disk takes at most one part in so many of the time
)

// Run is the whole life of one process of this role.
func Run(ctx context.Context, config wire.DualAudit, to *wire.Server, version string) error {
	debug.SetMemoryLimit(heapLimitBytes)
	debug.SetGCPercent(50)
	if err := complete(&config); err != nil {
		return err
	}
	judging, err := newJudge(config)
	if err != nil {
		return err
	}
	defer judging.close()
	if err := greet(ctx, judging, to, version); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	session := &session{judge: judging, to: to, asked: make(chan wire.Command, 64), stop: stop}
	session.reason.Store("done")
	go session.listen(ctx)
	go session.tell(ctx)
	err = session.run(ctx)
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil // it was asked to stop
	}
	if err != nil {
		return named(err)
	}
	to.Emit(wire.Stopped{Event: "stopped", Reason: session.reason.Load().(string)})
	return nil
}

func complete(config *wire.DualAudit) error {
	switch {
	case config.OffHash != "" && config.OffHash != "violation" && config.OffHash != "accepted":
		return wire.Faultf("bad_configuration", "off_hash %q is neither violation nor accepted", config.OffHash)
	case config.Stamps != "" && config.Stamps != "optional" && config.Stamps != "required":
		return wire.Faultf("bad_configuration", "stamps %q is neither optional nor required", config.Stamps)
	case config.Source.Partitions < 1 || config.Target.Partitions < 1:
		return wire.Faultf("bad_configuration", "both topics need at least one partition")
	case config.Follow && (config.SourceUntil != nil || config.TargetUntil != nil):
		return wire.Faultf("bad_configuration", "following has no end: leave source_until and target_until out")
	}
	config.Samples = cmp.Or(config.Samples, defaultSamples)
	config.IntervalMs = cmp.Or(config.IntervalMs, 1000)
	config.PatienceMs = cmp.Or(config.PatienceMs, defaultPatience)
	return nil
}

func greet(ctx context.Context, j *judge, to *wire.Server, version string) error {
	cluster, err := connect.Describe(ctx, j.topics[match.Source].Client)
	if err != nil {
		return err
	}
	for _, each := range j.topics {
		if _, err := scan.Leaders(ctx, each.Client, each.Topic); err != nil {
			return err
		}
	}
	to.Emit(wire.Ready{Event: "ready", Role: "dual-audit", Worker: j.config.Worker, PID: os.Getpid(), Version: version,
		ClusterID: cluster.ID, TransactionVersion: cluster.TransactionVersion, KIP890Part2: cluster.KIP890Part2()})
	return nil
}

// named turns what a reading met into faults that the driver knows.
func named(err error) error {
	var expired scan.Expired
	if errors.As(err, &expired) {
		return wire.Faultf("expired_unread", "records were removed by retention while they were being read: %v", expired)
	}
	return connect.Unreachable(err)
}

// session is a judge with somebody to talk to.
type session struct {
	*judge
	to      *wire.Server
	asked   chan wire.Command // judge_until
	stop    context.CancelFunc
	reason  atomic.Value // string
	settled time.Time    // not before this again
	at      atomic.Int64 // window, for the progress events
}

// run judges once, or goes on until it is stopped.
func (s *session) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.to.Connected():
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	if s.config.Follow {
		return s.watch(ctx)
	}
	if err := s.closed(ctx); err != nil {
		return err
	}
	verdict := s.told(ctx)
	if verdict.Standing == audit.Proved {
		s.to.Emit(s.cut(&verdict, verdict.Bounds.SourceUntil, verdict.Bounds.TargetUntil, s.held()))
	}
	return nil
}

func (s *session) told(ctx context.Context) Verdict {
	verdict := s.verdict(ctx)
	s.at.Store(s.window)
	s.to.Emit(verdict)
	return verdict
}

// watch reads what comes, tells each interval what it came to, and answers for a cut at once.
func (s *session) watch(ctx context.Context) error {
	for due := time.Now(); ; {
		if err := s.follow(ctx); err != nil {
			return err
		}
		s.phase.Store("watching")
		if now := time.Now(); !now.Before(due) {
			due = now.Add(milliseconds(int64(s.config.IntervalMs)))
			if err := s.sum(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case asked := <-s.asked:
			s.answer(ctx, asked)
		case <-time.After(glance):
		}
	}
}

// sum tells what everything read so far came to.
func (s *session) sum(ctx context.Context) error {
	if began := time.Now(); began.After(s.settled) {
		if err := s.matcher.Settle(s.patient); err != nil {
			return err
		}
		s.settled = time.Now().Add(settleShare * time.Since(began))
	}
	verdict := s.told(ctx)
	if verdict.Standing == audit.Proved {
		s.to.Emit(s.cut(&verdict, verdict.Bounds.SourceUntil, verdict.Bounds.TargetUntil, false))
	}
	return nil
}

// listen takes commands.
func (s *session) listen(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.to.Grace:
			s.end("nobody was connected for the grace time")
			return
		case command := <-s.to.Commands:
			s.obey(command)
		}
	}
}

func (s *session) obey(command wire.Command) {
	switch command.Name {
	case "stop":
		asked := struct {
			Reason string `json:"reason"`
		}{Reason: "asked to stop"}
		if err := command.Decode(&asked); err != nil {
			s.to.Reply(command, nil, err)
			return
		}
		s.to.Reply(command, nil, nil)
		s.end(asked.Reason)
	case "judge_until":
		select {
		case s.asked <- command:
		default:
			s.to.Reply(command, nil, wire.Faultf("bad_command", "too many wait for a verdict already"))
		}
	default:
		s.to.Reply(command, nil, wire.Faultf("bad_command", "an audit of dual writing does not know the command %q", command.Name))
	}
}

func (s *session) end(reason string) {
	s.reason.Store(reason)
	s.stop()
}

// tell reports the progress once a second.
func (s *session) tell(ctx context.Context) {
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	records, offsets, at := int64(0), int64(0), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-ticks.C:
			made := s.progress(now)
			seconds, passed := now.Sub(at).Seconds(), s.offsetsRead()
			made.RecordsPerSecond = float64(s.recordsRead()-records) / seconds
			if rate := float64(passed-offsets) / seconds; rate > 0 {
				made.EtaSeconds = float64(made.OffsetsTotal-made.OffsetsDone) / rate
			}
			records, offsets, at = s.recordsRead(), passed, now
			s.to.Emit(made)
		}
	}
}

func (s *session) progress(now time.Time) Progress {
	total, counts := s.total.Load(), s.matcher.Counts()
	return Progress{
		Event: "dual_progress", AtMs: now.UnixMilli(), Window: s.at.Load() + 1, Phase: s.phase.Load().(string),
		SourceRecords: s.topics[match.Source].Records.Load(), TargetRecords: s.topics[match.Target].Records.Load(),
		OffsetsDone: min(s.offsetsRead()-s.passed.Load(), total), OffsetsTotal: total, EtaSeconds: -1,
		Doubtful: counts.Waiting, Spilled: counts.Spilled, Standing: s.standing.Load().(string),
	}
}
