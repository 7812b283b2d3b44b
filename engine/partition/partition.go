// Package partition holds what each Kafka client does with a key: the same formulas as cutover/partitioners.py, without allocation.
//
// Both reproduce tests/golden/partitioners.json, which holds what the real clients answered. Counts are at least 1 and partitions
// exist: callers take both from the cluster's metadata.
package partition

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"
)

// Func gives the partition, 0 to count-1, of a key. It is pure, safe for concurrent use, and allocates nothing.
type Func func(key []byte, count int32) int32

type family struct {
	place            Func
	emptyKeyIsRandom bool
}

var families = map[string]family{
	"murmur2":                {place: placeMurmur2},
	"murmur2_unmasked":       {place: placeMurmur2Unmasked},
	"murmur2_kafkajs_legacy": {place: placeMurmur2KafkaJSLegacy},
	"crc32":                  {place: placeCRC32, emptyKeyIsRandom: true},
	"crc32_consistent":       {place: placeCRC32},
	"fnv1a":                  {place: placeFNV1a},
	"fnv1a_reference":        {place: placeFNV1aReference},
	"sarama_hasher64":        {place: placeSaramaHasher64},
}

// Families lists the names that Place knows, sorted.
func Families() []string { return slices.Sorted(maps.Keys(families)) }

// Place returns the formula of the family with this name.
func Place(name string) (Func, error) {
	known, ok := families[name]
	if !ok {
		return nil, fmt.Errorf("partitioner %q is not known; known are %v", name, Families())
	}
	return known.place, nil
}

// EmptyKeyIsRandom says whether the family's clients treat an empty key as no key, so that it is placed by the policy for null keys.
func EmptyKeyIsRandom(name string) bool { return families[name].emptyKeyIsRandom }

func placeMurmur2(key []byte, count int32) int32 { return masked(murmur2(key), count) }

func placeMurmur2Unmasked(key []byte, count int32) int32 { return unsigned(murmur2(key), count) }

func placeMurmur2KafkaJSLegacy(key []byte, count int32) int32 {
	return masked(murmur2KafkaJSLegacy(key), count)
}

func placeCRC32(key []byte, count int32) int32 { return unsigned(crc32.ChecksumIEEE(key), count) }

func placeFNV1a(key []byte, count int32) int32 { return absolute(fnv1a(key), count) }

func placeFNV1aReference(key []byte, count int32) int32 { return masked(fnv1a(key), count) }

func placeSaramaHasher64(key []byte, count int32) int32 { return unsigned(fnv1a(key), count) }

func masked(h uint32, count int32) int32 { return int32(h&0x7fffffff) % count }

func unsigned(h uint32, count int32) int32 { return int32(h % uint32(count)) }

func absolute(h uint32, count int32) int32 {
	if int32(h) < 0 {
		h = -h
	}
	return int32(h % uint32(count))
}

const (
	murmurSeed = 0x9747b28c
	murmurM    = 0x5bd1e995
	fnvOffset  = 0x811c9dc5
	fnvPrime   = 0x01000193
)

func murmur2(key []byte) uint32 {
	h := uint32(murmurSeed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		k := binary.LittleEndian.Uint32(key) * murmurM
		k ^= k >> 24
		h = h*murmurM ^ k*murmurM
	}
	if len(key) > 0 {
		h = (h ^ tail(key)) * murmurM
	}
	h = (h ^ h>>13) * murmurM
	return h ^ h>>15
}

// murmur2KafkaJSLegacy differs from murmur2 in that its products are rounded to doubles and the tail is also hashed as a word of its own.
func murmur2KafkaJSLegacy(key []byte) uint32 {
	h := uint32(murmurSeed) ^ uint32(len(key))
	for ; len(key) >= 4; key = key[4:] {
		h = mixRounded(h, binary.LittleEndian.Uint32(key))
	}
	if len(key) > 0 {
		rest := tail(key)
		h = roundedProduct(mixRounded(h, rest) ^ rest)
	}
	h = roundedProduct(h ^ h>>13)
	return h ^ h>>15
}

func mixRounded(h, k uint32) uint32 {
	k = roundedProduct(k)
	return roundedProduct(h) ^ roundedProduct(k^k>>24)
}

// roundedProduct multiplies as JavaScript does: signed values as doubles, of whose product a 32-bit operation keeps the low bits.
func roundedProduct(word uint32) uint32 {
	return uint32(int64(float64(int32(word)) * murmurM))
}

func fnv1a(key []byte) uint32 {
	h := uint32(fnvOffset)
	for _, b := range key {
		h = (h ^ uint32(b)) * fnvPrime
	}
	return h
}

// tail reads the one to three bytes after the last whole word as a little-endian number.
func tail(key []byte) uint32 {
	var word uint32
	for i, b := range key {
		word |= uint32(b) << (8 * i)
	}
	return word
}
