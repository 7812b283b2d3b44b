package mirror

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

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
// Without offsets it takes them away. It is refused, and changes nothing, where a wall was read past already.
func (w *worker) drainTo(command wire.Command) error {
	var asked struct {
		Offsets wire.Offsets `json:"offsets"`
	}
	if err := command.Decode(&asked); err != nil {
		return err
	}
	if err := wholeWalls(asked.Offsets, w.config.Origin.Partitions); err != nil {
		return wire.Faultf("bad_command", "drain_to %v", err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, held := range w.held {
		if err := held.lane.allows(asked.Offsets); err != nil {
			return err
		}
	}
	w.walls, w.cutSaid = asked.Offsets, false
	var refused []error
	for _, held := range w.held {
		refused = append(refused, held.lane.drainTo(asked.Offsets))
	}
	return errors.Join(refused...)
}

// wholeWalls says what is wrong with walls: they are for all partitions or there are none.
func wholeWalls(walls wire.Offsets, partitions int32) error {
	if walls == nil {
		return nil
	}
	for p := range partitions {
		if offset, ok := walls[p]; !ok || offset < 0 {
			return fmt.Errorf("names no offset for partition %d", p)
		}
	}
	if len(walls) != int(partitions) {
		return fmt.Errorf("names %d offsets for %d partitions", len(walls), partitions)
	}
	return nil
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
		now := held.lane.stands()
		if now.status.State != drained {
			return
		}
		maps.Copy(positions, now.committed)
	}
	w.cutSaid = true
	w.to.Emit(wire.Cut{Event: "cut", Positions: positions})
}

// progress sums the lanes up; since is the time the rates are taken over, 0 for those of last time.
func (w *worker) progress(since time.Duration) wire.Progress {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	p := wire.Progress{Event: "progress", AtMs: now.UnixMilli(), Positions: wire.Offsets{}, Committed: wire.Offsets{}, Ends: wire.Offsets{}}
	reasons := map[string]bool{}
	for _, number := range slices.Sorted(maps.Keys(w.held)) {
		one := w.held[number].lane.stands()
		p.Lanes = append(p.Lanes, one.status)
		maps.Copy(p.Positions, one.reading)
		maps.Copy(p.Committed, one.committed)
		w.lag(&p, one, now)
		if one.slowed != "" {
			reasons[one.slowed] = true
		}
	}
	if len(w.held) == 0 {
		reasons[waitingLanes] = true
	}
	if silent := now.Sub(w.answered); silent > quietCluster {
		reasons[fmt.Sprintf("the cluster has not answered for %d s", int(silent.Seconds()))] = true
		p.LagSeconds = max(p.LagSeconds, silent.Seconds()) // what was written since is not known
	}
	w.fill(&p, since)
	p.SlowedBy = strings.Join(slices.Sorted(maps.Keys(reasons)), ", ")
	return p
}

// lag adds one lane's: records to its ends, and the age of the last record copied by the lane that is furthest behind;
// of one that has copied nothing yet, the time since it was taken.
func (w *worker) lag(p *wire.Progress, of standing, now time.Time) {
	behind := int64(0)
	for partition, offset := range of.committed {
		p.Ends[partition] = w.ends[partition]
		behind += max(0, w.ends[partition]-offset)
	}
	p.LagRecords += behind
	if behind > 0 && of.newestMs > 0 {
		p.LagSeconds = max(p.LagSeconds, float64(now.UnixMilli()-of.newestMs)/1000)
	}
}

func (w *worker) fill(p *wire.Progress, since time.Duration) {
	p.Records, p.Bytes, p.Transactions = w.counts.records.Load(), w.counts.bytes.Load(), w.counts.transactions.Load()
	p.Recoveries, p.ForeignProvenance = w.counts.recoveries.Load(), w.counts.foreign.Load()
	p.CommitMsP50, p.CommitMsP99, p.TransactionRecordsMedian = w.counts.recent()
	p.ResidentBytes = residentBytes()
	if since > 0 {
		w.recordsPerSecond = float64(p.Records-w.lastRecords) / since.Seconds()
		w.bytesPerSecond = float64(p.Bytes-w.lastBytes) / since.Seconds()
		w.lastRecords, w.lastBytes = p.Records, p.Bytes
	}
	p.RecordsPerSecond, p.BytesPerSecond = w.recordsPerSecond, w.bytesPerSecond
}
