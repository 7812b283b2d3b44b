package wire

// Ready says that a process has reached its cluster and what it speaks there.
type Ready struct {
	Event              string `json:"event"` // ready
	Role               string `json:"role"`
	Worker             string `json:"worker"`
	PID                int    `json:"pid"`
	Version            string `json:"version"`
	ClusterID          string `json:"cluster_id"`
	TransactionVersion int16  `json:"transaction_version"` // finalized on the cluster
	KIP890Part2        bool   `json:"kip890_part2"`        // each transaction has an epoch of its own
}

// LaneStatus is one lane as its holder sees it.
type LaneStatus struct {
	Lane            int32   `json:"lane"`
	Partitions      []int32 `json:"partitions"`
	TransactionalID string  `json:"transactional_id"`
	ProducerID      int64   `json:"producer_id"`
	ProducerEpoch   int16   `json:"producer_epoch"`
	State           string  `json:"state"` // recovering, copying, idle, paused, drained
}

// Progress is what a mirror worker did and where it stands; once a second.
type Progress struct {
	Event                    string       `json:"event"` // progress
	AtMs                     int64        `json:"at_ms"`
	Lanes                    []LaneStatus `json:"lanes"`
	Positions                Offsets      `json:"positions"` // next offset to copy, of the partitions this worker holds
	Committed                Offsets      `json:"committed"` // as far as it is committed
	Ends                     Offsets      `json:"ends"`      // last stable offsets of the origin, as last seen
	Records                  int64        `json:"records"`   // copied by this process
	Bytes                    int64        `json:"bytes"`
	RecordsPerSecond         float64      `json:"records_per_second"`
	BytesPerSecond           float64      `json:"bytes_per_second"`
	LagRecords               int64        `json:"lag_records"`
	LagSeconds               float64      `json:"lag_seconds"`
	Transactions             int64        `json:"transactions"`
	TransactionRecordsMedian float64      `json:"transaction_records_median"`
	CommitMsP50              float64      `json:"commit_ms_p50"`
	CommitMsP99              float64      `json:"commit_ms_p99"`
	Recoveries               int64        `json:"recoveries"`
	ForeignProvenance        int64        `json:"foreign_provenance"` // headers stripped that no lane of ours wrote
	ResidentBytes            int64        `json:"resident_bytes"`
	SlowedBy                 string       `json:"slowed_by"` // why it is not faster, in plain words
}

// LaneChange tells that a lane was taken, recovered, released, fenced or retried, and why.
type LaneChange struct {
	Event  string         `json:"event"` // lane
	Lane   int32          `json:"lane"`
	Change string         `json:"change"`
	Reason string         `json:"reason,omitempty"`
	Facts  map[string]any `json:"facts,omitempty"`
}

// Cut says that all lanes of this worker stand at their walls with everything below committed.
type Cut struct {
	Event     string  `json:"event"` // cut
	Positions Offsets `json:"positions"`
}

// Fatal ends a process.
type Fatal struct {
	Event string `json:"event"` // fatal
	Error *Fault `json:"error"`
}

// Stopped is the last event of a process that ends as asked.
type Stopped struct {
	Event     string  `json:"event"` // stopped
	Reason    string  `json:"reason"`
	Positions Offsets `json:"positions,omitempty"`
}

// Reply answers the command with the same id.
type Reply struct {
	Event  string `json:"event"` // reply
	ID     int64  `json:"id"`
	OK     bool   `json:"ok"`
	Result any    `json:"result,omitempty"`
	Error  *Fault `json:"error,omitempty"`
}
