package partition

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

type golden struct {
	Keys   []string `json:"keys"`
	Tables []struct {
		Family     string              `json:"family"`
		Placements map[string][]*int32 `json:"placements"`
	} `json:"tables"`
	NullKeys []struct {
		Policy          string `json:"policy"`
		OriginPartition int32  `json:"origin_partition"`
		OriginOffset    int64  `json:"origin_offset"`
		OriginCount     int32  `json:"origin_count"`
		FollowerCount   int32  `json:"follower_count"`
		Partition       int32  `json:"partition"`
	} `json:"null_keys"`
	Lineages []struct {
		OriginCount   int32     `json:"origin_count"`
		FollowerCount int32     `json:"follower_count"`
		Parents       [][]int32 `json:"parents"`
		Children      [][]int32 `json:"children"`
	} `json:"lineages"`
}

func readGolden(t testing.TB) (golden, [][]byte) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "tests", "golden", "partitioners.json"))
	if err != nil {
		t.Fatal(err)
	}
	var stored golden
	if err := json.Unmarshal(text, &stored); err != nil {
		t.Fatal(err)
	}
	keys := make([][]byte, len(stored.Keys))
	for i, key := range stored.Keys {
		if keys[i], err = hex.DecodeString(key); err != nil {
			t.Fatal(err)
		}
	}
	return stored, keys
}

func TestEveryFamilyPlacesKeysLikeTheRealClients(t *testing.T) {
	stored, keys := readGolden(t)
	var seen []string
	for _, table := range stored.Tables {
		place, err := Place(table.Family)
		if err != nil {
			t.Fatal(err)
		}
		seen = append(seen, table.Family)
		for word, placements := range table.Placements {
			var count int32
			if _, err := fmt.Sscan(word, &count); err != nil {
				t.Fatal(err)
			}
			for i, want := range placements {
				if want == nil {
					if len(keys[i]) > 0 || !EmptyKeyIsRandom(table.Family) {
						t.Errorf("%s: key %x has no stored answer, and is not one that its clients place at random", table.Family, keys[i])
					}
				} else if got := place(keys[i], count); got != *want {
					t.Errorf("%s: key %x of %d: got %d, the client says %d", table.Family, keys[i], count, got, *want)
				}
			}
		}
	}
	slices.Sort(seen)
	if got := slices.Compact(seen); !slices.Equal(got, Families()) {
		t.Errorf("stored vectors cover %v, the families are %v", got, Families())
	}
}

func TestNullKeysLandWhereTheVectorsSay(t *testing.T) {
	stored, _ := readGolden(t)
	if len(stored.NullKeys) == 0 {
		t.Fatal("no vectors for null keys")
	}
	for _, v := range stored.NullKeys {
		policy, err := ParseNullKeyPolicy(v.Policy)
		if err != nil {
			t.Fatal(err)
		}
		if got := NullKey(policy, v.OriginPartition, v.OriginOffset, v.OriginCount, v.FollowerCount); got != v.Partition {
			t.Errorf("%+v: got %d", v, got)
		}
	}
}

func TestLineagesAreWhatTheVectorsSay(t *testing.T) {
	stored, _ := readGolden(t)
	if len(stored.Lineages) == 0 {
		t.Fatal("no vectors for lineages")
	}
	for _, v := range stored.Lineages {
		lineage := Lineage{OriginCount: v.OriginCount, FollowerCount: v.FollowerCount}
		for q, want := range v.Parents {
			if got := lineage.Parents(int32(q)); !slices.Equal(got, want) {
				t.Errorf("%+v: parents of %d: got %v, want %v", lineage, q, got, want)
			}
		}
		for p, want := range v.Children {
			if got := lineage.Children(int32(p)); !slices.Equal(got, want) {
				t.Errorf("%+v: children of %d: got %v, want %v", lineage, p, got, want)
			}
		}
		if lineage.Nested() != (len(v.Parents[0]) == 1) {
			t.Errorf("%+v: nested is %v with parents %v", lineage, lineage.Nested(), v.Parents[0])
		}
	}
}

func TestAKeyLandsOnlyInChildrenOfItsOriginPartition(t *testing.T) {
	random := rand.New(rand.NewPCG(6, 24))
	for name, known := range families {
		for range 5_000 {
			key := randomKey(random, random.IntN(64))
			lineage := Lineage{OriginCount: 1 + random.Int32N(200), FollowerCount: 1 + random.Int32N(200)}
			p, q := known.place(key, lineage.OriginCount), known.place(key, lineage.FollowerCount)
			if !slices.Contains(lineage.Parents(q), p) || !slices.Contains(lineage.Children(p), q) {
				t.Fatalf("%s: key %x goes from %d to %d in %+v", name, key, p, q, lineage)
			}
		}
	}
}

func TestSpreadStaysAmongTheChildrenAndUsesThemAll(t *testing.T) {
	for originCount := int32(1); originCount <= 24; originCount++ {
		for followerCount := int32(1); followerCount <= 24; followerCount++ {
			lineage := Lineage{OriginCount: originCount, FollowerCount: followerCount}
			for p := range originCount {
				children := lineage.Children(p)
				for offset := range int64(len(children)) {
					if got := NullKey(Spread, p, offset, originCount, followerCount); got != children[offset] {
						t.Fatalf("%+v: offset %d of %d: got %d, want %d", lineage, offset, p, got, children[offset])
					}
				}
				if kept := NullKey(KeepPartition, p, 7, originCount, followerCount); !slices.Contains(children, kept) {
					t.Fatalf("%+v: %d is kept as %d, outside its children %v", lineage, p, kept, children)
				}
			}
		}
	}
}

func TestAnUnknownNameIsRefusedWithTheKnownOnes(t *testing.T) {
	if _, err := Place("murmur3"); err == nil {
		t.Error("murmur3 was accepted")
	}
	if _, err := ParseNullKeyPolicy("anywhere"); err == nil {
		t.Error("a policy named anywhere was accepted")
	}
}

func TestPlacingAllocatesNothing(t *testing.T) {
	key := []byte("customer-00000012345")
	for name, known := range families {
		if allocations := testing.AllocsPerRun(100, func() { known.place(key, 24) }); allocations != 0 {
			t.Errorf("%s: %v allocations per key", name, allocations)
		}
	}
	var landed int32
	if allocations := testing.AllocsPerRun(100, func() { landed += NullKey(Spread, 5, 1_000, 6, 24) }); allocations != 0 {
		t.Errorf("spread: %v allocations per record", allocations)
	}
}

func BenchmarkPlace(b *testing.B) {
	random := rand.New(rand.NewPCG(1, 1))
	keys := make([][]byte, 1024)
	for i := range keys {
		keys[i] = randomKey(random, 20)
	}
	for _, name := range Families() {
		b.Run(name, func(b *testing.B) {
			place, err := Place(name)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				place(keys[i&1023], 24)
				i++
			}
		})
	}
}

func randomKey(random *rand.Rand, length int) []byte {
	key := make([]byte, length)
	for i := range key {
		key[i] = byte(random.Uint32())
	}
	return key
}
