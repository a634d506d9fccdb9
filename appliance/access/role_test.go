package access

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestWhoMayWhat(t *testing.T) {
	identities := []struct {
		name string
		who  Identity
	}{
		{"nobody", Identity{}},
		{"unknown role", Identity{Role: "root", Way: ByLogin}},
		{"viewer", Identity{Role: Viewer, Way: ByLogin}},
		{"auditor", Identity{Role: Auditor, Way: ByToken}},
		{"operator", Identity{Role: Operator, Way: ByLogin}},
		{"admin", Identity{Role: Admin, Way: ByToken}},
		{"socket", Local()},
	}
	permissions := []Permission{Public, Own, View, Operate, Change, Administer, Audit, LocalOnly}
	var got strings.Builder
	for _, i := range identities {
		fmt.Fprintf(&got, "%-13s", i.name)
		for _, p := range permissions {
			fmt.Fprint(&got, map[bool]string{true: "x", false: "."}[i.who.May(p)])
		}
		fmt.Fprintln(&got)
	}
	want := `nobody       x.......
unknown role x.......
viewer       xxx.....
auditor      xxx...x.
operator     xxxx....
admin        xxxxxxx.
socket       xxxxxxxx
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Errorf("public own view operate change administer audit local (-want +got):\n%s", diff)
	}
}

func TestFreshness(t *testing.T) {
	now := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name string
		who  Identity
		want bool
	}{
		{"nobody", Identity{Proved: now}, false},
		{"just proved", Identity{Way: ByLogin, Proved: now}, true},
		{"at the end", Identity{Way: ByLogin, Proved: now.Add(-FreshFor)}, true},
		{"over", Identity{Way: ByLogin, Proved: now.Add(-FreshFor - time.Second)}, false},
		{"never proved", Identity{Way: ByLogin}, false},
		{"proved under another clock", Identity{Way: ByLogin, Proved: now.Add(time.Hour)}, false},
		{"token", Identity{Way: ByToken}, true},
		{"socket", Local(), true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.who.Fresh(now); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
		})
	}
}
