package mirror

import (
	"testing"

	"cutover/engine/wire"
)

func TestAWallBelowWhatIsCommittedIsRefusedAlsoWhileTheLaneRecovers(t *testing.T) {
	one := &lane{committed: wire.Offsets{0: 10}}
	if err := one.allows(wire.Offsets{0: 10}); err != nil {
		t.Errorf("a wall where the lane stands was refused: %v", err)
	}
	if err := one.allows(wire.Offsets{0: 9}); err == nil || wire.AsFault(err).Name != "wall_passed" {
		t.Errorf("a wall below what is committed was taken: %v", err)
	}
}
