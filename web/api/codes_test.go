package api

import (
	"encoding/json"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// problemCodes are those that openapi.json names: of all problems, and at the operations.
func problemCodes(t *testing.T) (all []string, atOperations []string) {
	t.Helper()
	var d struct {
		Paths map[string]map[string]struct {
			Problems []string `json:"x-problems"`
		}
		Components struct {
			Schemas struct {
				Problem struct {
					Properties struct{ Code struct{ Enum []string } }
				}
			}
		}
	}
	if err := json.Unmarshal(openAPI, &d); err != nil {
		t.Fatal(err)
	}
	for _, methods := range d.Paths {
		for _, o := range methods {
			atOperations = append(atOperations, o.Problems...)
		}
	}
	return d.Components.Schemas.Problem.Properties.Code.Enum, atOperations
}

func TestCodesAreAllDescribed(t *testing.T) {
	described, atOperations := problemCodes(t)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(codes)), slices.Sorted(slices.Values(described))); diff != "" {
		t.Errorf("codes (-) and document (+) differ:\n%s", diff)
	}
	for _, code := range atOperations {
		if codes[code] == 0 {
			t.Errorf("an operation names the code %s, which there is not", code)
		}
	}
}

func TestKnownErrorsHaveCodesOfTheTable(t *testing.T) {
	for _, k := range known {
		if codes[k.code] == 0 {
			t.Errorf("%v has the code %s, which is not in the table", k.err, k.code)
		}
		p := ProblemOf(k.err)
		if p.Code != k.code || p.Status != codes[k.code] || p.Detail == "" {
			t.Errorf("%v became %+v, want the code %s", k.err, p, k.code)
		}
		if (k.field != "") != (len(p.Problems) == 1 && p.Problems[0].Field == k.field) {
			t.Errorf("%v: its field is %+v, want %q", k.err, p.Problems, k.field)
		}
	}
}
