package steering

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// play makes the edits and calls between after each, with the rules at that moment.
func play(have []string, list []edit, between func([]string)) []string {
	rules := slices.Clone(have)
	for _, e := range list {
		if e.insert {
			rules = slices.Insert(rules, e.position-1, e.rule)
		} else {
			rules = slices.Delete(rules, e.position-1, e.position)
		}
		between(rules)
	}
	return rules
}

func TestEdits(t *testing.T) {
	tests := []struct {
		name       string
		have, want []string
		edits      int
	}{
		{"equal", []string{"a", "b"}, []string{"a", "b"}, 0},
		{"new chain", nil, []string{"a", "b"}, 2},
		{"one more", []string{"a", "c"}, []string{"a", "b", "c"}, 1},
		{"one less", []string{"a", "b", "c"}, []string{"a", "c"}, 1},
		{"last missing", []string{"a", "b"}, []string{"a", "b", "drop"}, 1},
		{"doubled", []string{"a", "a", "drop"}, []string{"a", "drop"}, 1},
		{"foreign rule", []string{"accept", "a", "drop"}, []string{"a", "drop"}, 1},
		{"wrong order", []string{"drop", "a"}, []string{"a", "drop"}, 4},
		{"everything else", []string{"x", "y"}, []string{"a"}, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			list := edits(tt.have, tt.want)
			if len(list) != tt.edits {
				t.Errorf("got %d edits, want %d: %v", len(list), tt.edits, list)
			}
			got := play(tt.have, list, func([]string) {})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// From any rules to any rules: the end is what was wanted, and while rules change, the first rule that matches a
// packet is always one that the old or the new chain would have chosen.
func TestEditsNeverDecideOtherwise(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	random := func() []string {
		list := make([]string, r.IntN(6))
		for i := range list {
			list[i] = string(rune('a' + r.IntN(4)))
		}
		return list
	}
	// A rule is a letter, a packet is a set of letters that match it.
	decide := func(rules []string, packet int) string {
		for _, rule := range rules {
			if packet&(1<<(rule[0]-'a')) != 0 {
				return rule
			}
		}
		return "none"
	}
	for range 5000 {
		have, want := random(), random()
		end := play(have, edits(have, want), func(now []string) {
			for packet := range 16 {
				d := decide(now, packet)
				if d != decide(have, packet) && d != decide(want, packet) {
					t.Fatalf("%v to %v by way of %v: packet %b meets %s", have, want, now, packet, d)
				}
			}
		})
		if !slices.Equal(end, want) {
			t.Fatalf("%v to %v: got %v", have, want, end)
		}
	}
}
