// Command vectors asks franz-go, Sarama and kafka-go where they put each key. The protocol is in ../README.md.
package main

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"os"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/IBM/sarama"
	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kgo"
)

const random = -1

type setting struct {
	module, name, family string
	place                func(key []byte, count int) int
}

func settings() []setting {
	const franz, ibm, segment = "github.com/twmb/franz-go", "github.com/IBM/sarama", "github.com/segmentio/kafka-go"
	return []setting{
		{franz, "UniformBytesPartitioner(64 KiB, true, true, nil), the default", "murmur2", ofFranz(kgo.UniformBytesPartitioner(64<<10, true, true, nil))},
		{franz, "StickyKeyPartitioner(nil)", "murmur2", ofFranz(kgo.StickyKeyPartitioner(nil))},
		{franz, "SaramaCompatHasher(fnv32a)", "fnv1a", ofFranz(kgo.StickyKeyPartitioner(kgo.SaramaCompatHasher(fnv32a)))},
		{franz, "SaramaHasher(fnv32a), 64 bit", "sarama_hasher64", ofFranz(kgo.StickyKeyPartitioner(kgo.SaramaHasher(fnv32a)))},
		{franz, "SaramaHasher(crc32.ChecksumIEEE), 64 bit", "crc32_consistent", ofFranz(kgo.StickyKeyPartitioner(kgo.SaramaHasher(crc32.ChecksumIEEE)))},
		{ibm, "NewHashPartitioner, the default", "fnv1a", ofSarama(sarama.NewHashPartitioner)},
		{ibm, "NewReferenceHashPartitioner", "fnv1a_reference", ofSarama(sarama.NewReferenceHashPartitioner)},
		{ibm, "NewConsistentCRCHashPartitioner", "crc32_consistent", ofSarama(sarama.NewConsistentCRCHashPartitioner)},
		{ibm, "NewMurmur2Partitioner", "murmur2", ofSarama(sarama.NewMurmur2Partitioner)},
		{segment, "Hash", "fnv1a", ofSegment(&kafka.Hash{})},
		{segment, "ReferenceHash", "fnv1a_reference", ofSegment(&kafka.ReferenceHash{})},
		{segment, "CRC32Balancer", "crc32", ofSegment(kafka.CRC32Balancer{})},
		{segment, "CRC32Balancer with Consistent", "crc32_consistent", ofSegment(kafka.CRC32Balancer{Consistent: true})},
		{segment, "Murmur2Balancer", "murmur2", ofSegment(kafka.Murmur2Balancer{})},
	}
}

func main() {
	in := bufio.NewScanner(os.Stdin)
	in.Buffer(nil, 1<<20)
	in.Scan()
	counts := strings.Fields(in.Text())
	var keys [][]byte
	for in.Scan() {
		key, err := hex.DecodeString(strings.TrimPrefix(in.Text(), "-"))
		if err != nil {
			panic(err)
		}
		keys = append(keys, key)
	}
	versions := versions()
	for _, word := range counts {
		count, err := strconv.Atoi(word)
		if err != nil {
			panic(err)
		}
		for _, s := range settings() {
			name := s.module[strings.LastIndex(s.module, "/")+1:]
			fmt.Println(strings.Join([]string{name, versions[s.module], s.name, s.family, word, placements(s, keys, count)}, "\t"))
		}
	}
}

func placements(s setting, keys [][]byte, count int) string {
	words := make([]string, len(keys))
	for i, key := range keys {
		words[i] = strings.Replace(strconv.Itoa(observe(s, key, count)), strconv.Itoa(random), "-", 1)
	}
	return strings.Join(words, " ")
}

// observe asks 64 times, so that a placement at random shows.
func observe(s setting, key []byte, count int) int {
	first := s.place(bytes.Clone(key), count)
	for range 63 {
		if s.place(bytes.Clone(key), count) != first {
			return random
		}
	}
	return first
}

func ofFranz(partitioner kgo.Partitioner) func([]byte, int) int {
	topic := partitioner.ForTopic("t")
	return func(key []byte, count int) int {
		record := &kgo.Record{Key: present(key)}
		if byBackup, ok := topic.(kgo.TopicBackupPartitioner); ok {
			return byBackup.PartitionByBackup(record, count, nil)
		}
		return topic.Partition(record, count)
	}
}

func ofSarama(newPartitioner sarama.PartitionerConstructor) func([]byte, int) int {
	return func(key []byte, count int) int {
		p, err := newPartitioner("t").Partition(&sarama.ProducerMessage{Key: sarama.ByteEncoder(present(key))}, int32(count))
		if err != nil {
			panic(err)
		}
		return int(p)
	}
}

func ofSegment(balancer kafka.Balancer) func([]byte, int) int {
	return func(key []byte, count int) int {
		partitions := make([]int, count)
		for i := range partitions {
			partitions[i] = i
		}
		return balancer.Balance(kafka.Message{Key: present(key)}, partitions...)
	}
}

// present keeps an empty key from becoming no key.
func present(key []byte) []byte {
	if key == nil {
		return []byte{}
	}
	return key
}

func fnv32a(key []byte) uint32 {
	h := fnv.New32a()
	h.Write(key)
	return h.Sum32()
}

func versions() map[string]string {
	found := map[string]string{}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		panic("no build information")
	}
	for _, module := range info.Deps {
		found[module.Path] = module.Version
	}
	return found
}
