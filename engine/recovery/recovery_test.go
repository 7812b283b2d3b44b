package recovery

import (
	"encoding/json"
	"os"
	"reflect"
	"testing"
)

func TestEveryCaseOfTheTableIsDecidedAsWritten(t *testing.T) {
	raw, err := os.ReadFile("../../tests/golden/recovery.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name     string   `json:"name"`
		Given    Given    `json:"given"`
		Decision Decision `json:"decision"`
	}
	if err := json.Unmarshal(raw, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 20 {
		t.Fatalf("only %d cases: the table is not complete", len(cases))
	}
	for _, one := range cases {
		t.Run(one.Name, func(t *testing.T) {
			got, want := Decide(one.Given), one.Decision
			if len(want.Missing) == 0 {
				want.Missing = nil
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %s, want %s", text(got), text(want))
			}
		})
	}
}

func text(value any) string {
	raw, _ := json.Marshal(value)
	return string(raw)
}
