package wire

import (
	"errors"
	"fmt"
	"os"
	"strings"
)

// Fault is an error with a name that the driver knows; it ends the process or fails one command.
type Fault struct {
	Name    string         `json:"name"`
	Message string         `json:"message"`
	Fields  map[string]any `json:"fields,omitempty"`
	cause   error
}

// Error is the name and the message.
func (f *Fault) Error() string { return f.Name + ": " + f.Message }

// Unwrap gives the cause.
func (f *Fault) Unwrap() error { return f.cause }

// Faultf makes a Fault; an error among the arguments is kept as its cause.
func Faultf(name, format string, args ...any) *Fault {
	fault := &Fault{Name: name, Message: fmt.Sprintf(format, args...)}
	for _, arg := range args {
		if err, ok := arg.(error); ok {
			fault.cause = err
		}
	}
	return fault
}

// With adds facts behind the words and returns the fault.
func (f *Fault) With(fields map[string]any) *Fault {
	f.Fields = fields
	return f
}

// AsFault gives the Fault in err's chain, or one named "engine_failed".
func AsFault(err error) *Fault {
	var fault *Fault
	if errors.As(err, &fault) {
		return fault
	}
	return &Fault{Name: "engine_failed", Message: err.Error()}
}

// Secret is a reference: env:NAME or file:/path. It is never a value and never printed resolved.
type Secret string

// Resolve reads the secret now.
func (s Secret) Resolve() (string, error) {
	kind, rest, _ := strings.Cut(string(s), ":")
	switch kind {
	case "env":
		value, ok := os.LookupEnv(rest)
		if !ok {
			return "", Faultf("bad_configuration", "the secret %s names a variable that is not set", s)
		}
		return value, nil
	case "file":
		raw, err := os.ReadFile(rest)
		if err != nil {
			return "", Faultf("bad_configuration", "the secret %s cannot be read: %v", s, err)
		}
		return strings.TrimRight(string(raw), "\r\n"), nil
	}
	return "", Faultf("bad_configuration", "a secret must be env:NAME or file:/path")
}
