package audit

import (
	"crypto/rand"
	"encoding/binary"
	"math/bits"

	"github.com/zeebo/xxh3"

	"cutover/engine/audit/scan"
)

// number is an unsigned 128-bit integer.
type number struct{ high, low uint64 }

func (n *number) add(m number) {
	var carry uint64
	n.low, carry = bits.Add64(n.low, m.low, 0)
	n.high, _ = bits.Add64(n.high, m.high, carry)
}

// digester hashes records under a key that lives as long as the process, so that nobody can prepare records whose digests cancel.
type digester struct{ key [4]uint64 }

func newDigester() digester {
	var raw [32]byte
	rand.Read(raw[:]) // never fails: crypto/rand ends the process instead
	var made digester
	for i := range made.key {
		made.key[i] = binary.LittleEndian.Uint64(raw[8*i:])
	}
	return made
}

func (d *digester) of(bytes []byte, which int) number {
	sum := xxh3.Hash128Seed(bytes, d.key[which])
	return number{high: sum.Hi, low: sum.Lo}
}

// content is a record less its provenance.
type content struct {
	body    []byte // key and value as encoded
	headers []byte // as encoded, in order
	count   int
}

// record gives the digest of coordinates and content, without the timestamp and with it.
func (d *digester) record(p int32, o int64, what content, timestampMs int64) (plain, timed number) {
	var block [64]byte
	body := d.of(what.body, 0)
	binary.LittleEndian.PutUint64(block[0:], body.high)
	binary.LittleEndian.PutUint64(block[8:], body.low)
	if what.count > 0 {
		headers := d.of(what.headers, 1)
		binary.LittleEndian.PutUint64(block[16:], headers.high)
		binary.LittleEndian.PutUint64(block[24:], headers.low)
	}
	binary.LittleEndian.PutUint32(block[32:], uint32(what.count))
	binary.LittleEndian.PutUint32(block[36:], uint32(p))
	binary.LittleEndian.PutUint64(block[40:], uint64(o))
	binary.LittleEndian.PutUint64(block[48:], uint64(timestampMs))
	return d.of(block[:48], 2), d.of(block[:56], 3)
}

// sum stands for any number of records of one pair of partitions. Digests are added, never XORed: a pair would cancel.
type sum struct {
	records   int64
	plain     number
	timed     number
	last      int64 // greatest origin offset
	breaks    int64 // records at or below the one before them
	logAppend bool  // some timestamp was set by the broker
}

func (s *sum) add(o int64, plain, timed number, logAppend bool) {
	s.records++
	s.plain.add(plain)
	s.timed.add(timed)
	s.last = max(s.last, o)
	s.logAppend = s.logAppend || logAppend
}

// equal compares with the other side's sum; timestamps only where producers set them on both.
func (s *sum) equal(other *sum) bool {
	if s.records != other.records || s.breaks+other.breaks > 0 || s.plain != other.plain {
		return false
	}
	return s.logAppend || other.logAppend || s.timed == other.timed
}

// withoutProvenance gives a native record's content: headers in the form of provenance are an earlier run's and are not copied.
func withoutProvenance(record *scan.Record) (content, error) {
	kept := content{body: record.Body, headers: record.Headers, count: record.HeaderCount}
	var copied []byte
	for rest, i := record.Headers, 0; i < record.HeaderCount; i++ {
		header, after, err := scan.NextHeader(rest)
		if err != nil {
			return content{}, err
		}
		_, is := header.Provenance()
		switch {
		case is && copied == nil:
			copied = append([]byte{}, record.Headers[:len(record.Headers)-len(rest)]...)
			kept.count--
		case is:
			kept.count--
		case copied != nil:
			copied = append(copied, header.Raw...)
		}
		rest = after
	}
	if copied != nil {
		kept.headers = copied
	}
	return kept, nil
}
