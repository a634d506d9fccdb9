package proxy

import (
	"io"
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
)

// TestRecordsNameThePath looks at a session, a flow and a refused client, in the list and in the events of each.
func TestRecordsNameThePath(t *testing.T) {
	for _, test := range []struct {
		name   string
		origin func(*testing.T) uint16
		client func(*testing.T, netip.AddrPort)
		listed int
	}{
		{"session", func(t *testing.T) uint16 { return serveTCP(t, echo) }, func(t *testing.T, edge netip.AddrPort) {
			c := dial(t, edge)
			mustWrite(t, c, []byte("x"))
			mustRead(t, c, "x")
		}, 1},
		{"flow", func(t *testing.T) uint16 { return serveUDP(t, echoDatagram) }, func(t *testing.T, edge netip.AddrPort) {
			mustAnswer(t, dialUDP(t, edge), []byte("x"), []byte("x"))
		}, 1},
		{"refused", func(*testing.T) uint16 { return 0 }, func(t *testing.T, edge netip.AddrPort) {
			_, _ = io.ReadAll(dial(t, edge))
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, test.origin(t), nil)
			if test.listed == 0 {
				if err := b.Apply(&plan.Plan{}); err != nil {
					t.Fatal(err)
				}
			}
			events, end := b.Events()
			defer end()
			test.client(t, b.edge4)
			list := b.all()
			if len(list) != test.listed {
				t.Fatalf("listed are %+v, want %d", list, test.listed)
			}
			for _, s := range list {
				if s.Path != plan.PathUser {
					t.Errorf("listed with the path %q, want user", s.Path)
				}
				b.Kill(s.ID)
			}
			for range 2 {
				if e := <-events; e.Path != plan.PathUser {
					t.Errorf("the event %s has the path %q, want user", e.Type, e.Path)
				}
			}
		})
	}
}
