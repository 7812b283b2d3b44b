package wire

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const minimal = `{"version":1,"socket":"/tmp/s","connection":{"bootstrap_servers":["b:1"]}`

func TestAConfigurationIsReadStrictly(t *testing.T) {
	for name, text := range map[string]string{
		"another version":  strings.Replace(minimal, `"version":1`, `"version":2`, 1) + "}",
		"no socket":        strings.Replace(minimal, `"/tmp/s"`, `""`, 1) + "}",
		"no broker":        strings.Replace(minimal, `["b:1"]`, `[]`, 1) + "}",
		"an unknown field": minimal + `,"lane":3}`,
		"unknown inside":   minimal + `,"origin":{"nmae":"s"}}`,
		"another type":     minimal + `,"lanes":"four"}`,
		"no object":        `[]`,
		"nothing":          ``,
		"half":             minimal,
		"a bad topic id":   minimal + `,"origin":{"id":"short"}}`,
		"a bad run id":     minimal + `,"run_id":"xyz"}`,
	} {
		var config Mirror
		var fault *Fault
		if err := Read(strings.NewReader(text), &config, &config.Common); !errors.As(err, &fault) || fault.Name != "bad_configuration" {
			t.Errorf("%s: %v", name, err)
		}
	}
	var config Mirror
	if err := Read(strings.NewReader(minimal+`,"lanes":4}`), &config, &config.Common); err != nil || config.Lanes != 4 {
		t.Errorf("%+v %v", config, err)
	}
}

func TestIdsAreReadAsTheyAreWritten(t *testing.T) {
	var topic TopicID
	var run RunID
	for i := range topic {
		topic[i] = byte(250 + i)
	}
	copy(run[:], topic[3:])
	text, err := json.Marshal(map[string]any{"id": topic, "run": run})
	if err != nil {
		t.Fatal(err)
	}
	var back struct {
		ID  TopicID
		Run RunID
	}
	if err := json.Unmarshal(text, &back); err != nil || back.ID != topic || back.Run != run {
		t.Errorf("%s became %+v, %v", text, back, err)
	}
}

func TestASecretIsAReference(t *testing.T) {
	t.Setenv("CUTOVER_TEST_SECRET", "s3cret word")
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for reference, want := range map[Secret]string{"env:CUTOVER_TEST_SECRET": "s3cret word", Secret("file:" + file): "from a file"} {
		if got, err := reference.Resolve(); err != nil || got != want {
			t.Errorf("%s is %q, %v", reference, got, err)
		}
	}
	for _, wrong := range []Secret{"hunter2", "", "env:CUTOVER_TEST_MISSING", "file:/no/such/file", "vault:x"} {
		var fault *Fault
		got, err := wrong.Resolve()
		if got != "" || !errors.As(err, &fault) || fault.Name != "bad_configuration" {
			t.Errorf("%q: %q, %v", wrong, got, err)
		}
	}
}

func TestAnErrorNeverShowsWhatMayBeASecret(t *testing.T) {
	if _, err := Secret("hunter2").Resolve(); strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
	var config Mirror
	text := minimal + `,"password":"hunter2"}`
	if err := Read(strings.NewReader(text), &config, &config.Common); strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

func TestAFaultKeepsItsCauseAndIsFoundInAChain(t *testing.T) {
	cause := errors.New("cause")
	fault := Faultf("hole", "because %v", cause).With(map[string]any{"partition": 1})
	if !errors.Is(fault, cause) || AsFault(errors.Join(errors.New("x"), fault)) != fault {
		t.Error("cause or fault lost")
	}
	if other := AsFault(cause); other.Name != "engine_failed" || other.Message != "cause" {
		t.Errorf("%+v", other)
	}
}
