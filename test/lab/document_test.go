package lab

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestReadDocument(t *testing.T) {
	file := func(text string) string {
		name := filepath.Join(t.TempDir(), "settings.json")
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	base := []namedAddress{{originName, netip.MustParseAddr("198.18.2.2")}, {originName, netip.MustParseAddr("2001:db8:2::2")}}
	for _, tt := range []struct {
		name, file string
		dialled    []string
		origins    []namedAddress
		extra      []string
	}{
		{"the lab's own", "", []string{"198.18.1.10", "2001:db8:1::10"}, base, nil},
		{"networks, and origins elsewhere", file(`{"schema":1,
			"edge":{"interfaces":["wan0"],"addresses":["203.0.113.0/24","2001:db8:9::/64"]},
			"pools":[{"name":"web","origins":[{"address":"10.0.0.20"},{"name":"main","address":"198.18.2.2"},{"address":"example.org"}]}],
			"services":[{"name":"all","protocols":["tcp"],"ports":["1-65535"],"pool":"web"}]}`),
			[]string{"203.0.113.1", "2001:db8:9::1"},
			[]namedAddress{{"web-1", netip.MustParseAddr("10.0.0.20")}, {"main", netip.MustParseAddr("198.18.2.2")}, base[1]},
			[]string{"10.0.0.20/32"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			doc, err := readDocument(tt.file)
			if err != nil {
				t.Fatal(err)
			}
			if got := texts(doc.dialled); !cmp.Equal(got, tt.dialled) {
				t.Errorf("got the dialled addresses %v, want %v", got, tt.dialled)
			}
			if diff := cmp.Diff(tt.origins, doc.origins, cmp.AllowUnexported(namedAddress{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("got other origins (-want +got):\n%s", diff)
			}
			if got := texts(doc.extraOrigins()); !cmp.Equal(got, tt.extra) {
				t.Errorf("got the extra addresses %v, want %v", got, tt.extra)
			}
		})
	}
}

func TestReadDocumentNamesEveryProblem(t *testing.T) {
	name := filepath.Join(t.TempDir(), "bad.json")
	text := `{"schema":1,"edge":{"interfaces":["wan0"],"addresses":["203.0.113.10/32"]},"pools":[],
		"services":[{"name":"a","protocols":["tcp"],"ports":["0-70000"],"pool":"none"}]}`
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := readDocument(name)
	if err == nil {
		t.Fatal("got no error for a document with problems")
	}
	for _, want := range []string{name, "services[0].ports[0]", "services[0].pool"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want %q in it", err, want)
		}
	}
}

func texts[T interface{ String() string }](list []T) (s []string) {
	for _, v := range list {
		s = append(s, v.String())
	}
	return s
}
