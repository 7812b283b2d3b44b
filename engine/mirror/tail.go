package mirror

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"cutover/engine/connect"
	"cutover/engine/offsets"
	"cutover/engine/partition"
	"cutover/engine/position"
	"cutover/engine/provenance"
	"cutover/engine/recovery"
	"cutover/engine/transaction"
	"cutover/engine/wire"
)

const (
	tailRecords = 2000    // offsets read back from the follower's end at first; four times as many until enough is seen
	tailFetch   = 1 << 20 // bytes asked for at once when reading back

	readPatience = 15 * time.Second // for more records of a range that is known to be there
	abortLooks   = 10 * time.Second // between a coordinator's looks for transactions that took too long
)

// found is what recovery established: where to go on and what to leave out on the way.
type found struct {
	resume    map[int32]int64
	skip      map[pairKey]int64
	starts    map[int32]int64
	producers map[int32][]int64
	fresh     []int32 // origin partitions without a position
	unproved  int
}

func (f *found) facts() map[string]any {
	return map[string]any{"resume": f.resume, "skipped_pairs": len(f.skip), "unproved": f.unproved}
}

func lineage(config wire.Mirror) partition.Lineage {
	return partition.Lineage{OriginCount: config.Origin.Partitions, FollowerCount: config.Follower.Partitions}
}

// past is one origin partition's committed state.
type past struct {
	committed *int64
	mark      position.Mark
}

// wrote tells the lane's own records: provenance that anybody else wrote says nothing. Where no position is, the
// producers are not known, and provenance alone is believed.
func (p past) wrote(record *kgo.Record, current int64) bool {
	return p.committed == nil || len(p.mark.Producers) == 0 || record.ProducerID == current || slices.Contains(p.mark.Producers, record.ProducerID)
}

// remember adds an origin offset to those seen. Of the ordered ones from before the last transaction one is enough, so
// that a long way back takes no memory.
func (p past) remember(offsets []int64, next int64) []int64 {
	before := p.committed == nil || next < p.mark.From
	if before && len(offsets) == 1 && offsets[0] < next {
		offsets[0] = next
		return offsets
	}
	return append(offsets, next)
}

// recoverLane reads what is committed, what of it the follower's tail shows, and decides each pair of partitions.
func recoverLane(ctx context.Context, session *transaction.Session, l *lane) (*found, error) {
	client := session.Client
	producer, _ := session.Producer()
	pasts, err := committedOf(ctx, client, l.config, l.partitions)
	if err != nil {
		return nil, err
	}
	result := &found{resume: map[int32]int64{}, skip: map[pairKey]int64{}, starts: map[int32]int64{}, producers: map[int32][]int64{}}
	if err := begin(ctx, client, l, pasts, result); err != nil {
		return nil, err
	}
	expected, err := lastTransaction(ctx, client, l.config, pasts)
	if err != nil {
		return nil, err
	}
	pairs := pairsOf(l, pasts, expected)
	seen, err := tails(ctx, client, l, pasts, producer, pairs)
	if err != nil {
		return nil, err
	}
	return result, result.decide(l, pasts, pairs, expected, seen)
}

// pairsOf lists where records of the lane may be: where the formula puts the keys of its partitions, and where keys
// that sat in a partition of their own choice went last; anywhere while no position says what was last.
func pairsOf(l *lane, pasts map[int32]past, expected map[pairKey][]int64) map[pairKey]bool {
	pairs := map[pairKey]bool{}
	for _, p := range l.partitions {
		for _, q := range lineage(l.config).Children(p) {
			pairs[pairKey{p, q}] = true
		}
		for q := range l.config.Follower.Partitions {
			if pasts[p].committed == nil {
				pairs[pairKey{p, q}] = true
			}
		}
	}
	for pair := range expected {
		pairs[pair] = true
	}
	return pairs
}

// begunAlike refuses to go on with what must not change within a run.
func begunAlike(config wire.Mirror, mark position.Mark) error {
	if mark.Lanes != config.Lanes {
		return wire.Faultf("lanes_differ", "the run was begun with %d lanes, not %d", mark.Lanes, config.Lanes).
			With(map[string]any{"lanes": mark.Lanes, "wanted": config.Lanes})
	}
	if wanted := placement(config); mark.Placement != wanted {
		return wire.Faultf("placement_differs", "the run was begun with the partitioner and null keys %s, not %s", mark.Placement, wanted).
			With(map[string]any{"placement": mark.Placement, "wanted": wanted})
	}
	return nil
}

// committedOf reads the group's stable positions of some origin partitions.
func committedOf(ctx context.Context, client *kgo.Client, config wire.Mirror, partitions []int32) (map[int32]past, error) {
	fetched, err := offsets.CommittedOf(ctx, client, config.Group, config.Origin.Name, config.Origin.ID, partitions)
	if err != nil {
		return nil, err
	}
	pasts := map[int32]past{}
	for _, p := range partitions {
		pasts[p] = past{}
		if one, ok := fetched[p]; ok {
			mark, ours := position.Parse(one.Metadata)
			if !ours || mark.Run != config.RunID || mark.Epoch != config.Epoch {
				return nil, wire.Faultf("foreign_positions", "group %s has a position on partition %d of %s that is not of this run", config.Group, p, config.Origin.Name).
					With(map[string]any{"partition": p})
			}
			if err := begunAlike(config, mark); err != nil {
				return nil, err
			}
			pasts[p] = past{committed: &one.Offset, mark: mark}
		}
	}
	return pasts, nil
}

// begin settles where each partition's epoch starts: as marked, or as the plan says.
func begin(ctx context.Context, client *kgo.Client, l *lane, pasts map[int32]past, into *found) error {
	fresh, err := startOffsets(ctx, client, l.config)
	if err != nil {
		return err
	}
	for p, was := range pasts {
		if was.committed != nil {
			into.starts[p], into.producers[p] = was.mark.Start, slices.Clone(was.mark.Producers)
			continue
		}
		into.starts[p] = fresh[p]
		into.fresh = append(into.fresh, p)
	}
	return nil
}

func startOffsets(ctx context.Context, client *kgo.Client, config wire.Mirror) (wire.Offsets, error) {
	switch config.Start.Kind {
	case "offsets":
		return config.Start.Offsets, nil
	case "latest":
		return offsets.Stable(ctx, client, config.Origin.Name)
	case "time":
		return offsets.At(ctx, client, config.Origin.Name, config.Start.TimeMs)
	case "earliest":
		return offsets.Begin(ctx, client, config.Origin.Name)
	}
	return nil, wire.Faultf("bad_configuration", "start %q is not earliest, latest, time or offsets", config.Start.Kind)
}

// lastTransaction reads again what the last committed transaction took from the origin, by pair: as much as the
// origin still has of it, which may be nothing once retention took what was copied already.
func lastTransaction(ctx context.Context, client *kgo.Client, config wire.Mirror, pasts map[int32]past) (map[pairKey][]int64, error) {
	router, err := route(config)
	if err != nil {
		return nil, err
	}
	begins, err := offsets.Begin(ctx, client, config.Origin.Name)
	if err != nil {
		return nil, err
	}
	ranges := map[int32]span{}
	for p, was := range pasts {
		if was.committed == nil {
			continue
		}
		if begins[p] > *was.committed {
			return nil, outranFault(config.Origin, &outOfRange{p, *was.committed}, begins[p])
		}
		ranges[p] = span{max(was.mark.From, begins[p]), *was.committed}
	}
	expected := map[pairKey][]int64{}
	err = readRanges(ctx, config.Connection, clientID(config, "recovery"), config.Origin.Name, ranges, func(record *kgo.Record) {
		key := pairKey{record.Partition, router.Target(record.Key, record.Partition, record.Offset)}
		expected[key] = append(expected[key], record.Offset)
	})
	var gone *outOfRange
	if errors.As(err, &gone) {
		return nil, outran(ctx, client, config.Origin, gone)
	}
	return expected, err
}

// tails reads back each follower partition until the last transaction and everything after it must have been seen.
func tails(
	ctx context.Context, client *kgo.Client, l *lane, pasts map[int32]past, producer int64, pairs map[pairKey]bool,
) (map[pairKey][]int64, error) {
	var followers []int32
	for pair := range pairs {
		followers = append(followers, pair.follower)
	}
	begins, ends, err := settledRange(ctx, client, l.config.Follower.Name, followers, l.config.TransactionTimeoutMs)
	if err != nil {
		return nil, err
	}
	for q, start := range l.config.FollowerStart {
		begins[q] = max(begins[q], start) // below stand records of earlier epochs
	}
	open := map[int32]int64{} // follower partition to how far back to read
	for pair := range pairs {
		if q := pair.follower; ends[q] > begins[q] {
			open[q] = tailRecords
		}
	}
	seen := map[pairKey][]int64{}
	for len(open) > 0 {
		ranges := map[int32]span{}
		for q, back := range open {
			ranges[q] = span{max(begins[q], ends[q]-back), ends[q]}
		}
		part, err := readTail(ctx, l, pasts, producer, ranges)
		if err != nil {
			return nil, err
		}
		for q, one := range ranges {
			if one.from > begins[q] && !enough(q, part, pasts, pairs) {
				open[q] *= 4
				continue
			}
			delete(open, q)
			for _, p := range l.partitions {
				if offsets, some := part[pairKey{p, q}]; some {
					seen[pairKey{p, q}] = offsets
				}
			}
		}
	}
	return seen, nil
}

// enough reports that for each of this lane's partitions that has records in q, one from before the last transaction
// was seen.
func enough(q int32, seen map[pairKey][]int64, pasts map[int32]past, pairs map[pairKey]bool) bool {
	for pair := range pairs {
		if pair.follower != q {
			continue
		}
		was, offsets := pasts[pair.origin], seen[pair]
		if was.committed == nil || len(offsets) == 0 || offsets[0] >= was.mark.From {
			return false
		}
	}
	return true
}

func readTail(ctx context.Context, l *lane, pasts map[int32]past, producer int64, ranges map[int32]span) (map[pairKey][]int64, error) {
	seen := map[pairKey][]int64{}
	err := readRanges(ctx, l.config.Connection, clientID(l.config, "recovery"), l.config.Follower.Name, ranges, func(record *kgo.Record) {
		origin, mirrored := provenance.Of(record)
		if !mirrored || origin.Run != l.config.RunID || origin.Epoch != l.config.Epoch || !slices.Contains(l.partitions, origin.Partition) {
			return
		}
		if was := pasts[origin.Partition]; was.wrote(record, producer) {
			key := pairKey{origin.Partition, record.Partition}
			seen[key] = was.remember(seen[key], origin.Offset)
		}
	})
	return seen, err
}

// settledRange waits until nothing that was in these partitions when it began is undecided, so that all that was
// committed can be read.
func settledRange(ctx context.Context, client *kgo.Client, topic string, partitions []int32, timeoutMs int32) (begins, ends wire.Offsets, err error) {
	if begins, err = offsets.Begin(ctx, client, topic); err != nil {
		return nil, nil, err
	}
	high, err := offsets.High(ctx, client, topic)
	if err != nil {
		return nil, nil, err
	}
	deadline := time.Now().Add(abortLooks + 3*time.Duration(timeoutMs)*time.Millisecond)
	for {
		if ends, err = offsets.Stable(ctx, client, topic); err != nil {
			return nil, nil, err
		}
		behind := undecided(ends, high, partitions)
		if behind < 0 {
			return begins, ends, nil
		}
		if time.Now().After(deadline) {
			return nil, nil, wire.Faultf("hanging_transaction", "a transaction on partition %d of %s stays open, so its end cannot be read", behind, topic).
				With(map[string]any{"partition": behind, "stable": ends[behind], "high": high[behind]})
		}
		sleep(ctx, 5*time.Millisecond)
		if ctx.Err() != nil {
			return nil, nil, ctx.Err()
		}
	}
}

func undecided(stable, high wire.Offsets, partitions []int32) int32 {
	for _, p := range partitions {
		if stable[p] < high[p] {
			return p
		}
	}
	return -1
}

func (f *found) decide(l *lane, pasts map[int32]past, pairs map[pairKey]bool, expected, seen map[pairKey][]int64) error {
	for _, p := range l.partitions {
		was := pasts[p]
		start := f.starts[p]
		given := recovery.Given{Start: &start, Committed: was.committed, Compacted: l.config.Follower.Compacted}
		if was.committed == nil && l.config.Start.Kind != "earliest" && l.config.Start.Kind != "offsets" {
			given.Start = nil
		}
		if was.committed == nil && l.config.Start.Kind == "earliest" {
			if err := overtaken(l.config, p, start, seen); err != nil {
				return err
			}
		}
		f.resume[p] = start
		if was.committed != nil {
			f.resume[p] = *was.committed
		}
		for key := range pairs {
			if key.origin != p {
				continue
			}
			given.Expected, given.Seen = expected[key], seen[key]
			decision := recovery.Decide(given)
			if err := stopped(l.config, key, given, decision); err != nil {
				return err
			}
			f.unproved += decision.Unproved
			if decision.SkipThrough != nil {
				f.skip[key] = *decision.SkipThrough
			}
		}
	}
	return nil
}

// overtaken stops a lane that lost a position when the origin no longer has what comes after the copies.
func overtaken(config wire.Mirror, p int32, start int64, seen map[pairKey][]int64) error {
	next, some := int64(0), false
	for pair, offsets := range seen {
		if pair.origin == p && len(offsets) > 0 {
			next, some = max(next, offsets[len(offsets)-1]+1), true
		}
	}
	if !some || next >= start {
		return nil
	}
	return outranFault(config.Origin, &outOfRange{p, next}, start)
}

func stopped(config wire.Mirror, key pairKey, given recovery.Given, decision recovery.Decision) error {
	if decision.Verdict == recovery.Continue {
		return nil
	}
	words := map[string]string{
		recovery.Hole:          "records that were committed as copied are not there",
		recovery.Disorder:      "records at its end are not in the order of the origin",
		recovery.PositionsLost: "it holds records of this run, but the run's positions are gone",
	}
	missing := decision.Missing
	return wire.Faultf(decision.Verdict, "partition %d of %s, copied from partition %d of %s: %s", key.follower, config.Follower.Name,
		key.origin, config.Origin.Name, words[decision.Verdict]).
		With(map[string]any{"origin_partition": key.origin, "follower_partition": key.follower, "committed": given.Committed,
			"origin_offsets": missing[:min(len(missing), 20)], "missing": len(missing)})
}

// readRanges gives each committed data record of some ranges, in order per partition, and ends when all were read.
func readRanges(ctx context.Context, to wire.Connection, id, topic string, ranges map[int32]span, each func(*kgo.Record)) error {
	at, open := map[int32]kgo.Offset{}, map[int32]span{}
	for p, one := range ranges {
		if one.from < one.next {
			at[p], open[p] = kgo.NewOffset().At(one.from), one
		}
	}
	if len(open) == 0 {
		return nil
	}
	client, err := connect.Client(to, id, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: at}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(pollWait),
		kgo.FetchMaxBytes(tailFetch), kgo.FetchMaxPartitionBytes(tailFetch/4))
	if err != nil {
		return err
	}
	defer client.Close()
	quiet := time.Now()
	for len(open) > 0 {
		polling, cancel := context.WithTimeout(ctx, pollWait)
		fetches := client.PollRecords(polling, pollRecords)
		cancel()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		for _, failure := range fetches.Errors() {
			if errors.Is(failure.Err, context.DeadlineExceeded) {
				continue
			}
			if errors.Is(failure.Err, kerr.OffsetOutOfRange) {
				return &outOfRange{partition: failure.Partition, position: ranges[failure.Partition].from}
			}
			return connect.Unreachable(connect.Needs(failure.Err, "READ", "topic", topic))
		}
		fetches.EachRecord(func(record *kgo.Record) {
			one, wanted := open[record.Partition]
			if wanted && record.Offset < one.next && !record.Attrs.IsControl() {
				each(record)
			}
			if record.Offset >= one.next-1 {
				delete(open, record.Partition)
			}
		})
		if fetches.NumRecords() > 0 {
			quiet = time.Now()
		}
		if time.Since(quiet) > readPatience {
			return wire.Faultf("unreachable", "reading %s gave nothing more for %s", topic, readPatience)
		}
	}
	return nil
}
