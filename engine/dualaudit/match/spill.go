package match

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
)

const (
	buckets      = 128
	spilledBytes = 82
	bucketBuffer = 32 << 10
	filterWords  = 2 // per record that fits into memory: with ten times as many keys on disk, one other in 200 is taken for one of them
	filterProbes = 4
)

// spill holds entries on disk, by key, in the order in which they came. Its files have no name: they go with the process.
type spill struct {
	dir     string
	files   [buckets]*os.File
	writers [buckets]*bufio.Writer
	entries int64
	later   int64
	oldest  int64    // SeenMs
	keys    []uint64 // a Bloom filter
}

func newSpill(dir string, fitting int) *spill {
	return &spill{dir: dir, oldest: int64(1) << 62, keys: make([]uint64, max(64, filterWords*fitting))}
}

func (s *spill) open(bucket int) error {
	file, err := os.CreateTemp(s.dir, "cutover-dual-audit-*")
	if err == nil {
		s.files[bucket], s.writers[bucket] = file, bufio.NewWriterSize(file, bucketBuffer)
		err = os.Remove(file.Name())
	}
	if err != nil {
		return fmt.Errorf("what waits for its counterpart does not fit into memory and cannot be written to disk: %w", err)
	}
	return nil
}

// mayHold reports whether entries of the key are on disk; it may be wrong about a key that has none.
func (s *spill) mayHold(key Number) bool {
	for i := range filterProbes {
		if bit := s.probe(key, i); s.keys[bit/64]&(1<<(bit%64)) == 0 {
			return false
		}
	}
	return true
}

func (s *spill) remember(key Number) {
	for i := range filterProbes {
		bit := s.probe(key, i)
		s.keys[bit/64] |= 1 << (bit % 64)
	}
}

func (s *spill) probe(key Number, i int) uint64 {
	return (key.Low + uint64(i)*(key.High|1)) % (64 * uint64(len(s.keys)))
}

func (s *spill) close() {
	for _, each := range s.files {
		if each != nil {
			each.Close()
		}
	}
}

func bucketOf(key Number) int { return int(key.High % buckets) }

func (s *spill) write(key Number, side Side, entry *Entry) error {
	bucket := bucketOf(key)
	if s.files[bucket] == nil {
		if err := s.open(bucket); err != nil {
			return err
		}
	}
	s.remember(key)
	var raw [spilledBytes]byte
	for i, word := range []uint64{
		key.High, key.Low, entry.Digest.High, entry.Digest.Low, entry.Stamp,
		uint64(entry.Offset), uint64(entry.TimeMs), uint64(entry.SeenMs), uint64(entry.Producer), uint64(uint32(entry.Partition)),
	} {
		binary.LittleEndian.PutUint64(raw[8*i:], word)
	}
	raw[80], raw[81] = entry.Flags, byte(side)
	s.entries++
	s.later += int64(entry.Flags&Later) / int64(Later)
	s.oldest = min(s.oldest, entry.SeenMs)
	_, err := s.writers[bucket].Write(raw[:])
	return err
}

// each hands the entries of a bucket out in the order in which they were written.
func (s *spill) each(bucket int, take func(key Number, side Side, entry *Entry) error) error {
	if s.files[bucket] == nil {
		return nil
	}
	if err := s.writers[bucket].Flush(); err != nil {
		return err
	}
	if _, err := s.files[bucket].Seek(0, io.SeekStart); err != nil {
		return err
	}
	from := bufio.NewReaderSize(s.files[bucket], 1<<20)
	var raw [spilledBytes]byte
	for {
		if _, err := io.ReadFull(from, raw[:]); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		word := func(i int) uint64 { return binary.LittleEndian.Uint64(raw[8*i:]) }
		entry := Entry{
			Digest: Number{word(2), word(3)}, Stamp: word(4), Offset: int64(word(5)), TimeMs: int64(word(6)),
			SeenMs: int64(word(7)), Producer: int64(word(8)), Partition: int32(word(9)), Flags: raw[80],
		}
		if err := take(Number{word(0), word(1)}, Side(raw[81]), &entry); err != nil {
			return err
		}
	}
}
