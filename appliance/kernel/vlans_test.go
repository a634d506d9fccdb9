package kernel

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseVLANs(t *testing.T) {
	const headings = "VLAN Dev name\t | VLAN ID\nName-Type: VLAN_NAME_TYPE_RAW_PLUS_VID_NO_PAD\n"
	for _, test := range []struct {
		name, text string
		want       map[string]string
	}{
		{"nothing", "", map[string]string{}},
		{"no VLAN", headings, map[string]string{}},
		{"VLANs", headings + "players        | 5  | wan0\nbond0.7        | 7  | bond0\n", map[string]string{"players": "wan0", "bond0.7": "bond0"}},
		{"a VLAN of a VLAN", headings + "a|5|b\nb|6|c\n", map[string]string{"a": "b", "b": "c"}},
		{"nonsense", "a|b\n|||\n", map[string]string{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(parseVLANs(test.text), test.want); diff != "" {
				t.Errorf("got, want:\n%s", diff)
			}
		})
	}
}
