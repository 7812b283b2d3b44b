package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const patience = 5 * time.Second

type peer struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Scanner
}

func listen(t *testing.T, grace time.Duration) (*Server, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	server, err := Listen(path, grace)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if conn, err := net.Dial("unix", path); err == nil { // who never had a listener waits for one to hear its last words
			defer conn.Close()
		}
		server.Close()
	})
	return server, path
}

func connect(t *testing.T, path string) *peer {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(2 * patience))
	lines := bufio.NewScanner(conn)
	lines.Buffer(nil, maxLine)
	return &peer{t, conn, lines}
}

func (p *peer) say(line string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(line + "\n")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) hear() map[string]any {
	p.t.Helper()
	if !p.lines.Scan() {
		p.t.Fatalf("nothing more was said: %v", p.lines.Err())
	}
	var event map[string]any
	if err := json.Unmarshal(p.lines.Bytes(), &event); err != nil {
		p.t.Fatal(err)
	}
	return event
}

func within(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("not within %v: %s", patience, what)
	}
}

// joined waits until the server knows of so many listeners.
func joined(t *testing.T, server *Server, count int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		server.mu.Lock()
		now := len(server.listeners)
		server.mu.Unlock()
		if now == count {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d listeners, want %d", now, count)
		}
	}
}

func TestNobodyForTheGraceTimeIsTold(t *testing.T) {
	server, _ := listen(t, 20*time.Millisecond)
	within(t, "the grace time ends", server.Grace)
}

func TestTheGraceTimeStopsWhileSomebodyListensAndBeginsAgainAfterwards(t *testing.T) {
	server, path := listen(t, 200*time.Millisecond)
	one := connect(t, path)
	joined(t, server, 1)
	select {
	case <-server.Grace:
		t.Fatal("it ended with a listener")
	case <-time.After(400 * time.Millisecond):
	}
	one.conn.Close()
	within(t, "the grace time ends after the last one left", server.Grace)
}

func TestSomebodyWhoComesAndGoesAfterTheGraceTimeDoesNoHarm(t *testing.T) {
	server, path := listen(t, 10*time.Millisecond)
	within(t, "the grace time ends", server.Grace)
	connect(t, path).conn.Close()
	joined(t, server, 0)
	time.Sleep(50 * time.Millisecond) // a second end of the grace time would have panicked by then
}

func TestEachNewcomerGetsReadyFirst(t *testing.T) {
	server, path := listen(t, time.Minute)
	server.Emit(Ready{Event: "ready", Worker: "w"})
	for range 2 {
		one := connect(t, path)
		if event := one.hear(); event["event"] != "ready" || event["worker"] != "w" {
			t.Errorf("heard %v", event)
		}
	}
	joined(t, server, 2)
}

func TestEventsReachEverybodyAndRepliesTheAskerAlone(t *testing.T) {
	server, path := listen(t, time.Minute)
	asking, other := connect(t, path), connect(t, path)
	joined(t, server, 2)
	asking.say(`{"id":7,"command":"status","x":1}`)
	command := <-server.Commands
	var body struct{ X int }
	if err := command.Decode(&body); err != nil || command.Name != "status" || body.X != 1 {
		t.Fatalf("%+v %v", command, err)
	}
	server.Reply(command, map[string]int{"a": 1}, nil)
	server.Emit(Cut{Event: "cut"})
	if event := asking.hear(); event["event"] != "reply" || event["id"] != 7.0 || event["ok"] != true {
		t.Errorf("the asker heard %v", event)
	}
	if event := asking.hear(); event["event"] != "cut" {
		t.Errorf("the asker heard %v", event)
	}
	if event := other.hear(); event["event"] != "cut" {
		t.Errorf("the other heard %v", event)
	}
}

func TestAFailedCommandIsAnsweredWithItsFault(t *testing.T) {
	server, path := listen(t, time.Minute)
	one := connect(t, path)
	one.say(`{"id":1,"command":"x"}`)
	server.Reply(<-server.Commands, nil, Faultf("bad_command", "no"))
	if event := one.hear(); event["ok"] != false || event["error"].(map[string]any)["name"] != "bad_command" {
		t.Errorf("heard %v", event)
	}
}

func TestWhatIsNoCommandIsAnsweredAndTheConnectionGoesOn(t *testing.T) {
	server, path := listen(t, time.Minute)
	one := connect(t, path)
	for _, line := range []string{"nonsense", `{"id":3}`, `[]`, ``} {
		one.say(line)
		if event := one.hear(); event["ok"] != false {
			t.Errorf("%q was answered %v", line, event)
		}
	}
	one.say(`{"id":4,"command":"stop"}`)
	if command := <-server.Commands; command.ID != 4 {
		t.Errorf("%+v", command)
	}
}

func TestALineThatIsTooLongIsAnsweredAndEndsTheConnectionAlone(t *testing.T) {
	server, path := listen(t, time.Minute)
	long, other := connect(t, path), connect(t, path)
	joined(t, server, 2)
	go func() { _, _ = long.conn.Write([]byte(strings.Repeat("x", maxLine+100) + "\n")) }()
	if event := long.hear(); event["ok"] != false {
		t.Errorf("heard %v", event)
	}
	joined(t, server, 1)
	server.Emit(Cut{Event: "cut"})
	other.hear()
}

func TestAListenerThatDoesNotReadIsDroppedAndSlowsNobody(t *testing.T) {
	server, path := listen(t, time.Minute)
	connect(t, path)
	joined(t, server, 1)
	event := Stopped{Event: "stopped", Reason: strings.Repeat("x", 10_000)}
	began := time.Now()
	for range 3 * outboxEvents {
		server.Emit(event)
	}
	joined(t, server, 0)
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
}

func TestCloseWaitsForTheLastEventsButNotForEver(t *testing.T) {
	server, path := listen(t, time.Minute)
	deaf := []*peer{connect(t, path), connect(t, path)}
	reading := connect(t, path)
	joined(t, server, 3)
	for range outboxEvents / 2 {
		server.Emit(Stopped{Event: "stopped", Reason: strings.Repeat("x", 10_000)})
	}
	heard := make(chan int)
	go func() {
		count := 0
		for reading.lines.Scan() {
			count++
		}
		heard <- count
	}()
	closed := make(chan struct{})
	began := time.Now()
	go func() { server.Close(); close(closed) }()
	within(t, "close returns", closed)
	if took := time.Since(began); took > farewell+time.Second {
		t.Errorf("it took %v with %d listeners that do not read", took, len(deaf))
	}
	if count := <-heard; count != outboxEvents/2 {
		t.Errorf("%d events arrived before the end, want %d", count, outboxEvents/2)
	}
}

func TestTheSocketIsForItsOwnerAlone(t *testing.T) {
	_, path := listen(t, time.Minute)
	facts, err := os.Stat(path)
	if err != nil || facts.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", facts.Mode(), err)
	}
}

func TestASocketThatCannotBeMadeIsABadConfiguration(t *testing.T) {
	_, err := Listen(filepath.Join(t.TempDir(), "no", "such", "folder"), time.Minute)
	var fault *Fault
	if !errors.As(err, &fault) || fault.Name != "bad_configuration" {
		t.Error(err)
	}
}

func TestConnectionsLeaveNoGoroutineBehind(t *testing.T) {
	server, path := listen(t, time.Minute)
	connect(t, path).conn.Close()
	joined(t, server, 0)
	before := runtime.NumGoroutine()
	for range 50 {
		connect(t, path).conn.Close()
	}
	joined(t, server, 0)
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before+2; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, at first %d", runtime.NumGoroutine(), before)
		}
	}
}
