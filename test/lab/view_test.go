package lab

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
)

// TestReadyLine: scripts rely on every character of it.
func TestReadyLine(t *testing.T) {
	doc, err := readDocument("")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	access := Access{URL: "https://127.0.0.1:8443", Token: "secret", SetupCode: "ABCD-EFGH-JKLM"}
	if err := announce(Config{JSON: true, Headless: true, Out: &out}, doc, access); err != nil {
		t.Fatal(err)
	}
	const want = `{"ready":true,"url":"https://127.0.0.1:8443","token":"secret",` +
		`"client":{"netns":"bw-client","addresses":["198.18.1.2","2001:db8:1::2"]},` +
		`"edge":{"netns":"bw-edge","addresses":["198.18.1.10","2001:db8:1::10"]},` +
		`"origin":{"netns":"bw-origin","addresses":["198.18.2.2","2001:db8:2::2"]},"setupCode":"ABCD-EFGH-JKLM"}` + "\n"
	if got := out.String(); got != want {
		t.Errorf("got  %swant %s", got, want)
	}
}

func TestPicture(t *testing.T) {
	doc := document{}
	for a := netip.MustParseAddr("203.0.113.1"); len(doc.dialled) < 6; a = a.Next() {
		doc.dialled = append(doc.dialled, a)
	}
	const want = `
  client ─────────────────▶ box ────────────────────▶ origin
  bw-client                 bw-edge                   bw-origin
  198.18.1.2                203.0.113.1               198.18.2.2
  2001:db8:1::2             203.0.113.2               2001:db8:2::2
                            203.0.113.3
                            203.0.113.4
                            and 2 more
`
	if got := "\n" + picture(doc); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestPageShowsWhatCanBeTried(t *testing.T) {
	ours, err := readDocument("")
	if err != nil {
		t.Fatal(err)
	}
	foreign := ours
	foreign.isOurs = false
	for _, tt := range []struct {
		name   string
		config Config
		doc    document
		tries  int
		says   string
	}{
		{"the lab's own document", Config{}, ours, 3, "/dev/udp/198.18.1.10/19132"},
		{"a document of somebody", Config{}, foreign, 0, "Ctrl-C"},
		{"no origin", Config{NoOrigin: true}, ours, 0, "ip netns exec bw-origin COMMAND"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := page(tt.config, tt.doc, Access{})
			if n := strings.Count(got, "ip netns exec bw-client"); n != tt.tries {
				t.Errorf("got %d commands to try, want %d:\n%s", n, tt.tries, got)
			}
			if !strings.Contains(got, tt.says) {
				t.Errorf("got a page without %q:\n%s", tt.says, got)
			}
		})
	}
}
