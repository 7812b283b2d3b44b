package mirror

import (
	"errors"
	"testing"

	"cutover/engine/wire"
)

func TestAFollowerStartIsForAllPartitionsOfTheFollower(t *testing.T) {
	config := settings()
	config.Start.Kind = "earliest"
	config.FollowerStart = wire.Offsets{}
	for q := range config.Follower.Partitions {
		config.FollowerStart[q] = 7
	}
	if err := complete(&config); err != nil {
		t.Fatal(err)
	}
	delete(config.FollowerStart, 0)
	var fault *wire.Fault
	if err := complete(&config); !errors.As(err, &fault) || fault.Name != "bad_configuration" {
		t.Fatalf("%v", err)
	}
}
