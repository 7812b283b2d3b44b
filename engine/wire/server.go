package wire

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

const (
	maxLine      = 4 << 20 // bytes of one command
	outboxEvents = 1024    // events a slow listener may be behind before it is dropped
	farewell     = 2 * time.Second
)

// Command is one line from a driver; Body holds the whole object for the command's own fields.
type Command struct {
	ID   int64  `json:"id"`
	Name string `json:"command"`
	Body json.RawMessage
	from *listener
}

// Decode reads the command's own fields.
func (c Command) Decode(into any) error {
	if err := json.Unmarshal(c.Body, into); err != nil {
		return Faultf("bad_command", "the command %s cannot be read: %v", c.Name, err)
	}
	return nil
}

// Server listens on a Unix socket, hands out commands and sends events to whoever is connected.
// A listener that does not read is dropped: it must never slow the records.
type Server struct {
	Commands chan Command
	Grace    chan struct{} // closed when nobody was connected for the grace time

	net       net.Listener
	mu        sync.Mutex
	listeners map[*listener]struct{}
	greeting  []byte // the ready event, repeated to each newcomer
	connected chan struct{}
	once      sync.Once
	alone     sync.Once
	grace     time.Duration
	timer     *time.Timer
}

type listener struct {
	conn net.Conn
	out  chan []byte
	done chan struct{}
}

// Listen opens the socket (mode 0600) and starts the grace time.
func Listen(path string, grace time.Duration) (*Server, error) {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, Faultf("bad_configuration", "the socket %s cannot be made: %v", path, err)
	}
	bound, err := net.Listen("unix", path)
	if err != nil {
		return nil, Faultf("bad_configuration", "the socket %s cannot be made: %v", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, Faultf("bad_configuration", "the socket %s cannot be protected: %v", path, err)
	}
	server := &Server{
		Commands: make(chan Command, 64), Grace: make(chan struct{}), net: bound, grace: grace,
		listeners: map[*listener]struct{}{}, connected: make(chan struct{}),
	}
	server.timer = time.AfterFunc(grace, server.left)
	go server.accept()
	return server, nil
}

// left ends the grace time, once: somebody may come and go again while the process is ending.
func (s *Server) left() { s.alone.Do(func() { close(s.Grace) }) }

func (s *Server) accept() {
	for {
		conn, err := s.net.Accept()
		if err != nil {
			return
		}
		joined := &listener{conn: conn, out: make(chan []byte, outboxEvents), done: make(chan struct{})}
		s.mu.Lock()
		s.timer.Stop()
		s.listeners[joined] = struct{}{}
		if s.greeting != nil {
			joined.out <- s.greeting
		}
		s.mu.Unlock()
		s.once.Do(func() { close(s.connected) })
		go joined.write()
		go s.read(joined)
	}
}

func (l *listener) write() {
	defer close(l.done)
	defer l.conn.Close()
	for line := range l.out {
		if _, err := l.conn.Write(line); err != nil {
			return
		}
	}
}

func (s *Server) read(from *listener) {
	defer s.drop(from)
	lines := bufio.NewScanner(from.conn)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		command := Command{Body: append([]byte(nil), lines.Bytes()...), from: from}
		if err := json.Unmarshal(command.Body, &command); err != nil || command.Name == "" {
			s.Reply(command, nil, Faultf("bad_command", "a line is not a JSON object with a command"))
			continue
		}
		s.Commands <- command
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		s.Reply(Command{from: from}, nil, Faultf("bad_command", "a line is longer than %d bytes", maxLine))
	}
}

func (s *Server) drop(gone *listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.listeners[gone]; !there {
		return
	}
	delete(s.listeners, gone)
	close(gone.out)
	if len(s.listeners) == 0 {
		s.timer.Reset(s.grace)
	}
}

// Emit sends an event to everybody connected; a Ready is kept for newcomers.
func (s *Server) Emit(event any) {
	line, err := json.Marshal(event)
	if err != nil {
		line, _ = json.Marshal(Fatal{Event: "fatal", Error: Faultf("engine_failed", "an event cannot be encoded: %v", err)})
	}
	line = append(line, '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ready := event.(Ready); ready {
		s.greeting = line
	}
	for to := range s.listeners {
		s.send(to, line)
	}
}

func (s *Server) send(to *listener, line []byte) {
	select {
	case to.out <- line:
	default:
		delete(s.listeners, to)
		close(to.out)
		to.conn.Close()
		if len(s.listeners) == 0 {
			s.timer.Reset(s.grace)
		}
	}
}

// Reply answers one command, to the one who asked.
func (s *Server) Reply(command Command, result any, err error) {
	reply := Reply{Event: "reply", ID: command.ID, OK: err == nil, Result: result}
	if err != nil {
		reply.Error = AsFault(err)
	}
	line, failed := json.Marshal(reply)
	if failed != nil {
		line, _ = json.Marshal(Reply{Event: "reply", ID: command.ID, Error: Faultf("engine_failed", "a reply cannot be encoded: %v", failed)})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.listeners[command.from]; there {
		s.send(command.from, append(line, '\n'))
	}
}

// Close lets the last events out (for at most two seconds) and removes the socket.
func (s *Server) Close() {
	patience := time.Now().Add(farewell)
	select {
	case <-s.connected:
	case <-time.After(farewell):
	}
	s.mu.Lock()
	leaving := s.listeners
	s.listeners = map[*listener]struct{}{}
	for each := range leaving {
		_ = each.conn.SetWriteDeadline(patience) // a connection that is gone already has nothing to wait for
		close(each.out)
	}
	s.timer.Stop()
	s.mu.Unlock()
	for each := range leaving {
		<-each.done
	}
	s.net.Close()
}

// Connected is closed as soon as somebody has connected: an event before that is heard by nobody.
func (s *Server) Connected() <-chan struct{} { return s.connected }

// Announce tells the parent, on its pipe, that the socket can be connected to.
func Announce(to io.Writer) {
	_, _ = io.WriteString(to, "{\"event\":\"listening\"}\n")
}
