package mirror

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"cutover/engine/offsets"
	"cutover/engine/wire"
)

// obey carries out one command of the driver.
func (w *worker) obey(command wire.Command) (any, error) {
	switch command.Name {
	case "pause":
		w.limits.pause()
		return nil, nil
	case "resume":
		w.limits.resume()
		return nil, nil
	case "rate":
		var wanted wire.Rate
		if err := command.Decode(&wanted); err != nil {
			return nil, err
		}
		w.limits.set(wanted)
		return wanted, nil
	case "drain_to":
		return nil, w.drainTo(command)
	case "status":
		return w.progress(0), nil
	}
	return nil, wire.Faultf("bad_command", "a mirror knows no command %q", command.Name)
}

// drainTo puts walls: nothing at or past them is copied from now on, by any lane this worker holds or will hold.
func (w *worker) drainTo(command wire.Command) error {
	var asked struct {
		Offsets wire.Offsets `json:"offsets"`
	}
	if err := command.Decode(&asked); err != nil {
		return err
	}
	if len(asked.Offsets) != int(w.config.Origin.Partitions) {
		return wire.Faultf("bad_command", "drain_to names %d of %d partitions", len(asked.Offsets), w.config.Origin.Partitions)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.walls, w.cutSaid = asked.Offsets, false
	var refused []error
	for _, held := range w.held {
		refused = append(refused, held.lane.drainTo(asked.Offsets))
	}
	return errors.Join(refused...)
}

// sayCut tells once that all lanes of this worker are drained.
func (w *worker) sayCut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.walls == nil || w.cutSaid || len(w.held) == 0 {
		return
	}
	positions := wire.Offsets{}
	for _, held := range w.held {
		status, _, committed, _ := held.lane.status()
		if status.State != drained {
			return
		}
		maps.Copy(positions, committed)
	}
	w.cutSaid = true
	w.to.Emit(wire.Cut{Event: "cut", Positions: positions})
}

// watch checks each second that both topics are still those of the run, and where the origin ends.
func (w *worker) watch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, topic := range []wire.Topic{w.config.Origin, w.config.Follower} {
		_, err := leadersOf(ctx, w.client, topic)
		var fault *wire.Fault
		if errors.As(err, &fault) && fault.Name != "unreachable" {
			return err
		}
	}
	ends, err := offsets.Stable(ctx, w.client, w.config.Origin.Name)
	if err != nil {
		return nil // brokers come and go; lanes and the driver see a cluster that stays away
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends = ends
	return nil
}

// progress sums the lanes up; since is the time the rates are taken over.
func (w *worker) progress(since time.Duration) wire.Progress {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	p := wire.Progress{Event: "progress", AtMs: now.UnixMilli(), Positions: wire.Offsets{}, Committed: wire.Offsets{}, Ends: wire.Offsets{}}
	reasons := map[string]int{}
	for _, number := range slices.Sorted(maps.Keys(w.held)) {
		status, positions, committed, slowed := w.held[number].lane.status()
		p.Lanes = append(p.Lanes, status)
		maps.Copy(p.Positions, positions)
		maps.Copy(p.Committed, committed)
		if slowed != "" {
			reasons[slowed]++
		}
	}
	for partition, offset := range p.Committed {
		p.Ends[partition] = w.ends[partition]
		p.LagRecords += max(0, w.ends[partition]-offset)
	}
	w.fill(&p, now, since)
	p.SlowedBy = strings.Join(slices.Sorted(maps.Keys(reasons)), ", ")
	return p
}

func (w *worker) fill(p *wire.Progress, now time.Time, since time.Duration) {
	p.Records, p.Bytes, p.Transactions = w.counts.records.Load(), w.counts.bytes.Load(), w.counts.transactions.Load()
	p.Recoveries, p.ForeignProvenance = w.counts.recoveries.Load(), w.counts.foreign.Load()
	p.CommitMsP50, p.CommitMsP99, p.TransactionRecordsMedian = w.counts.recent()
	p.ResidentBytes = residentBytes()
	if since > 0 {
		p.RecordsPerSecond = float64(p.Records-w.lastRecords) / since.Seconds()
		p.BytesPerSecond = float64(p.Bytes-w.lastBytes) / since.Seconds()
		w.lastRecords, w.lastBytes = p.Records, p.Bytes
	}
	if newest := w.counts.newestMs.Load(); newest > 0 && p.LagRecords > 0 {
		p.LagSeconds = max(0, float64(now.UnixMilli()-newest)/1000)
	}
}
