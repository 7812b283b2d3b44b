// Package audit proves that a follower topic equals its origin over a range, or says where it does not. It reads both, committed
// records only, and shares no logic with the mirror: only the formats that both must know.
//
// Per pair of partitions it keeps sums of records and keyed digests (accumulate.go), compares them (verdict.go), and reads again
// only what differs (locate.go). docs/audit.md says what it shows and what it cannot.
package audit

import (
	"context"
	"errors"
	"os"
	"runtime/debug"
	"sync/atomic"
	"time"

	"cutover/engine/audit/scan"
	"cutover/engine/connect"
	"cutover/engine/wire"
)

const (
	defaultSamples = 10
	heapLimitBytes = 128 << 20 // the runtime collects harder as it comes near this; answers of brokers are garbage at once
)

// Run is the whole life of one process of this role.
func Run(ctx context.Context, config wire.Audit, to *wire.Server, version string) error {
	debug.SetMemoryLimit(heapLimitBytes)
	if err := complete(&config); err != nil {
		return err
	}
	judging, err := newJudge(config)
	if err != nil {
		return err
	}
	done, err := judging.open()
	if err != nil {
		return err
	}
	defer done()
	if err := greet(ctx, judging, to, version); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	session := &session{judge: judging, to: to, hurry: make(chan wire.Command, 64), stop: stop}
	session.reason.Store("done")
	session.told.Store(Proved)
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

func complete(config *wire.Audit) error {
	switch config.OffHash {
	case "", "violation", "accepted":
	default:
		return wire.Faultf("bad_configuration", "off_hash %q is neither violation nor accepted", config.OffHash)
	}
	switch config.Stragglers {
	case "", "violation", "report":
	default:
		return wire.Faultf("bad_configuration", "stragglers %q is neither violation nor report", config.Stragglers)
	}
	if config.Group == "" {
		return wire.Faultf("bad_configuration", "the configuration names no group")
	}
	if config.Follow && config.Until != nil {
		return wire.Faultf("bad_configuration", "following has no end: leave until out")
	}
	if config.Samples == 0 {
		config.Samples = defaultSamples
	}
	if config.IntervalMs == 0 {
		config.IntervalMs = 1000
	}
	return nil
}

func greet(ctx context.Context, j *judge, to *wire.Server, version string) error {
	cluster, err := connect.Describe(ctx, j.client())
	if err != nil {
		return err
	}
	for _, reader := range []*scan.Reader{j.origin, j.follower} {
		if _, err := scan.Leaders(ctx, reader.Client, reader.Topic); err != nil {
			return err
		}
	}
	to.Emit(wire.Ready{Event: "ready", Role: "audit", Worker: j.config.Worker, PID: os.Getpid(), Version: version,
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
	to     *wire.Server
	hurry  chan wire.Command // judge now, and answer
	stop   context.CancelFunc
	reason atomic.Value // string
	told   atomic.Value // string: the standing, for the progress events
	at     atomic.Int64 // window, likewise
}

// run judges once, or window after window until it is stopped.
func (s *session) run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.to.Connected():
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	for asked := (*wire.Command)(nil); ; {
		verdict, err := s.next(ctx)
		if err != nil {
			if asked != nil {
				s.to.Reply(*asked, nil, named(err))
			}
			return err
		}
		if asked != nil {
			s.to.Reply(*asked, map[string]any{"window": verdict.Window, "result": verdict.Result, "standing": verdict.Standing}, nil)
		}
		if !s.config.Follow {
			return nil
		}
		s.phase.Store("watching")
		if asked, err = s.rest(ctx); err != nil {
			return err
		}
		s.phase.Store("reading")
	}
}

// next judges one window and tells of it.
func (s *session) next(ctx context.Context) (Verdict, error) {
	if err := s.advance(ctx); err != nil {
		return Verdict{}, err
	}
	verdict, err := s.judgeOnce(ctx)
	if err != nil {
		return Verdict{}, err
	}
	s.told.Store(verdict.Standing)
	s.at.Store(verdict.Window)
	for _, each := range s.stragglers(&verdict) {
		s.to.Emit(each)
	}
	s.to.Emit(verdict)
	if verdict.Standing == Proved {
		s.to.Emit(s.cut(&verdict))
	}
	return verdict, nil
}

// rest waits for the next window's time, or until somebody asks for it.
func (s *session) rest(ctx context.Context) (*wire.Command, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case asked := <-s.hurry:
		return &asked, nil
	case <-time.After(time.Duration(s.config.IntervalMs) * time.Millisecond):
		return nil, nil
	}
}

// listen takes commands: judge_now ends the wait between windows and is answered with the outcome, stop ends the process.
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
	case "judge_now":
		select {
		case s.hurry <- command:
		default:
			s.to.Reply(command, nil, wire.Faultf("bad_command", "too many wait for a verdict already"))
		}
	default:
		s.to.Reply(command, nil, wire.Faultf("bad_command", "an audit does not know the command %q", command.Name))
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
			seconds := now.Sub(at).Seconds()
			passed := s.origin.Offsets.Load() + s.follower.Offsets.Load()
			made.RecordsPerSecond = float64(made.OriginRecords+made.FollowerRecords-records) / seconds
			made.EtaSeconds = -1
			if rate := float64(passed-offsets) / seconds; rate > 0 {
				made.EtaSeconds = float64(made.OffsetsTotal-made.OffsetsDone) / rate
			}
			records, offsets, at = made.OriginRecords+made.FollowerRecords, passed, now
			s.to.Emit(made)
		}
	}
}

func (s *session) progress(now time.Time) Progress {
	total := s.total.Load()
	return Progress{
		Event: "audit_progress", AtMs: now.UnixMilli(), Window: s.at.Load() + 1, Phase: s.phase.Load().(string),
		OriginRecords: s.origin.Records.Load(), FollowerRecords: s.follower.Records.Load(),
		OffsetsDone: min(s.origin.Offsets.Load()+s.follower.Offsets.Load()-s.passed.Load(), total), OffsetsTotal: total,
		Standing: s.told.Load().(string),
	}
}
