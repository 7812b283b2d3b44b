// Package wire is the contract between the driver and an engine process: configuration in on stdin,
// commands in and events out over a Unix socket, one JSON object per line. docs/engine.md describes it.
package wire

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
)

// Version of the contract. A configuration that names another one is refused.
const Version = 1

// Common is what every role is told.
type Common struct {
	Version      int        `json:"version"`
	Worker       string     `json:"worker"`        // name in logs, client ids and events
	Socket       string     `json:"socket"`        // path of the Unix socket to listen on
	GraceSeconds float64    `json:"grace_seconds"` // with nobody connected for so long: finish and end
	Connection   Connection `json:"connection"`
}

// Connection says how to reach the cluster. Secrets are references, never values.
type Connection struct {
	BootstrapServers []string `json:"bootstrap_servers"`
	SecurityProtocol string   `json:"security_protocol"` // plaintext, ssl, sasl_plaintext, sasl_ssl
	SASL             *SASL    `json:"sasl,omitempty"`
	TLS              *TLS     `json:"tls,omitempty"`
}

// SASL names the mechanism and where its secrets are.
type SASL struct {
	Mechanism string `json:"mechanism"` // PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER
	Username  string `json:"username"`
	Password  Secret `json:"password"`
	Token     Secret `json:"token"` // OAUTHBEARER; read anew at each login
}

// TLS names certificate files (PEM). Verification cannot be switched off.
type TLS struct {
	CAFile          string `json:"ca_file"`
	CertificateFile string `json:"certificate_file"`
	KeyFile         string `json:"key_file"`
	KeyPassword     Secret `json:"key_password"`
	ServerName      string `json:"server_name"`
}

// Topic is a topic as it was when the run was decided; another id means another topic.
type Topic struct {
	Name            string  `json:"name"`
	ID              TopicID `json:"id"`
	Partitions      int32   `json:"partitions"`
	MaxMessageBytes int32   `json:"max_message_bytes"`
	Compacted       bool    `json:"compacted"`
}

// TopicID is Kafka's 16 bytes, in JSON the URL-safe base64 that Kafka's tools print.
type TopicID [16]byte

// MarshalText gives the form that Kafka's tools print.
func (t TopicID) MarshalText() ([]byte, error) {
	return []byte(t.String()), nil
}

// String gives the form that Kafka's tools print.
func (t TopicID) String() string {
	return base64.RawURLEncoding.EncodeToString(t[:])
}

// UnmarshalText reads the form that Kafka's tools print.
func (t *TopicID) UnmarshalText(text []byte) error {
	raw, err := base64.RawURLEncoding.DecodeString(string(text))
	if err != nil || len(raw) != len(t) {
		return fmt.Errorf("topic id %q is not 22 characters of URL-safe base64", text)
	}
	copy(t[:], raw)
	return nil
}

// Offsets maps partition to offset.
type Offsets map[int32]int64

// Rate limits a worker; zero means no limit.
type Rate struct {
	RecordsPerSecond float64 `json:"records_per_second"`
	BytesPerSecond   float64 `json:"bytes_per_second"`
}

// Start says where a mirror without committed positions begins.
type Start struct {
	Kind    string  `json:"kind"` // earliest, latest, time, offsets
	TimeMs  int64   `json:"time_ms"`
	Offsets Offsets `json:"offsets"`
}

// Mirror configures a worker that copies origin to follower.
type Mirror struct {
	Common
	Run                  string  `json:"run"`
	RunID                RunID   `json:"run_id"`
	Epoch                uint32  `json:"epoch"`
	Group                string  `json:"group"` // positions and membership
	Origin               Topic   `json:"origin"`
	Follower             Topic   `json:"follower"`
	Partitioner          string  `json:"partitioner"`
	NullKeys             string  `json:"null_keys"` // keep_partition, spread
	Start                Start   `json:"start"`
	Lanes                int32   `json:"lanes"` // fixed for the life of the group
	TransactionTimeoutMs int32   `json:"transaction_timeout_ms"`
	MinIntervalMs        int     `json:"min_interval_ms"` // between transactions of a lane when caught up
	Rate                 Rate    `json:"rate"`
	ControlTopic         string  `json:"control_topic"`  // empty: no epochs to watch
	Pair                 string  `json:"pair"`           // as named in control records
	Walls                Offsets `json:"walls"`          // copy nothing at or past these; a later drain_to replaces them
	FollowerStart        Offsets `json:"follower_start"` // where the epoch began on the follower: below it stand records of earlier epochs
}

// Audit configures a judge of origin against follower.
type Audit struct {
	Common
	RunID             RunID   `json:"run_id"`
	Epoch             uint32  `json:"epoch"`
	Group             string  `json:"group"` // the mirror's group, whose committed positions bound the range
	Origin            Topic   `json:"origin"`
	Follower          Topic   `json:"follower"`
	Partitioner       string  `json:"partitioner"`
	NullKeys          string  `json:"null_keys"`
	OriginPartitioner string  `json:"origin_partitioner"` // of native records; empty: the same
	ProducerIDs       []int64 `json:"producer_ids"`       // of the lanes; empty: taken from the group's commit metadata
	From              Offsets `json:"from"`               // origin; absent: the mirror's start vector
	Until             Offsets `json:"until"`              // origin, exclusive; absent: the mirror's committed positions
	Samples           int     `json:"samples"`
	ShowData          bool    `json:"show_data"`  // keys and values in samples
	OffHash           string  `json:"off_hash"`   // native records outside their hash's partition: violation, accepted
	Stragglers        string  `json:"stragglers"` // follower records that nobody of the run wrote: violation, report
	Follow            bool    `json:"follow"`
	IntervalMs        int     `json:"interval_ms"` // between windows when following

	FollowerFrom     Offsets  `json:"follower_from"`      // where the epoch began on the follower; absent: the positions of the last ended group, else 0
	EndedGroups      []string `json:"ended_groups"`       // of the epochs before this one, oldest first
	EndedProducerIDs []int64  `json:"ended_producer_ids"` // of their lanes, beside those that the groups' metadata names
}

// DualAudit configures a judge of two topics to which producers write every record themselves.
type DualAudit struct {
	Common
	Source            Topic   `json:"source"`
	Target            Topic   `json:"target"`
	SourceFrom        Offsets `json:"source_from"` // absent: the first offsets
	TargetFrom        Offsets `json:"target_from"`
	SourceUntil       Offsets `json:"source_until"` // exclusive; absent: the ends of now
	TargetUntil       Offsets `json:"target_until"`
	SourcePartitioner string  `json:"source_partitioner"`
	TargetPartitioner string  `json:"target_partitioner"` // empty: the same
	Stamps            string  `json:"stamps"`             // optional, required
	Align             bool    `json:"align"`              // the ranges begin and end where nobody was held
	PatienceMs        int64   `json:"patience_ms"`        // how far apart the two records of one write may be
	Follow            bool    `json:"follow"`
	IntervalMs        int     `json:"interval_ms"` // between verdicts when following
	Samples           int     `json:"samples"`
	ShowData          bool    `json:"show_data"`     // keys and values in samples
	OffHash           string  `json:"off_hash"`      // records outside their hash's partition: violation, accepted
	SpillDir          string  `json:"spill_dir"`     // empty: the system's temporary directory
	PendingLimit      int     `json:"pending_limit"` // unmatched records in memory; the rest waits on disk
}

// Control configures the process that makes the driver's own writes and translations.
type Control struct {
	Common
	TransactionalID      string `json:"transactional_id"`
	TransactionTimeoutMs int32  `json:"transaction_timeout_ms"`
}

// RunID is the 8 bytes that name pair and run in provenance; hexadecimal in JSON.
type RunID [8]byte

// MarshalText gives 16 hexadecimal digits.
func (r RunID) MarshalText() ([]byte, error) {
	return fmt.Appendf(nil, "%x", r[:]), nil
}

// UnmarshalText reads 16 hexadecimal digits.
func (r *RunID) UnmarshalText(text []byte) error {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(r) {
		return fmt.Errorf("run id %q is not 16 hexadecimal digits", text)
	}
	copy(r[:], raw)
	return nil
}

// Read decodes one configuration strictly: unknown fields are errors, as is another version.
func Read(from io.Reader, into any, common *Common) error {
	decoder := json.NewDecoder(from)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return Faultf("bad_configuration", "the configuration on stdin cannot be read: %v", err)
	}
	if common.Version != Version {
		return Faultf("bad_configuration", "the configuration is of version %d, this engine speaks %d", common.Version, Version)
	}
	if common.Socket == "" || len(common.Connection.BootstrapServers) == 0 {
		return Faultf("bad_configuration", "the configuration names no socket or no bootstrap_servers")
	}
	return nil
}
