package mirror

import (
	"context"
	"errors"
	"time"

	"cutover/engine/offsets"
	"cutover/engine/wire"
)

const (
	watchEvery   = time.Second
	watchTimeout = 5 * time.Second
	quietCluster = 3 * time.Second // after which progress says that the cluster does not answer
	goneLooks    = 2               // looks in a row that find a topic gone before it is
)

// watch looks each second whether both topics are still those of the run, and where the origin ends. It ends the
// worker when one is not; a cluster that does not answer ends nothing.
func (w *worker) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for gone := 0; ; {
		err := w.look(ctx)
		var fault *wire.Fault
		switch {
		case errors.As(err, &fault) && fault.Name == "topic_gone":
			if gone++; gone >= goneLooks {
				w.end(err)
			}
		case err != nil && final(err):
			w.end(err)
		default:
			gone = 0
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (w *worker) look(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, watchTimeout)
	defer cancel()
	for _, topic := range []wire.Topic{w.config.Origin, w.config.Follower} {
		if _, err := leadersOf(ctx, w.client, topic); err != nil {
			return err
		}
	}
	ends, err := offsets.Stable(ctx, w.client, w.config.Origin.Name)
	if err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ends, w.answered = ends, time.Now()
	return nil
}
