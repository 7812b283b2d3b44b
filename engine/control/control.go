// Package control is being written.
package control

import (
	"context"

	"cutover/engine/wire"
)

// Run is the whole life of one process of this role.
func Run(_ context.Context, _ wire.Control, _ *wire.Server, _ string) error {
	return wire.Faultf("engine_failed", "not built yet")
}
