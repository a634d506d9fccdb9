package api

import (
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/store"
	"breakwater/web/caller"
)

// TestStreamsEndOutsideOfTheManagementNetworks: a request is let in once, and a stream goes on while its reader may reach the page.
func TestStreamsEndOutsideOfTheManagementNetworks(t *testing.T) {
	s, _, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	a := &API{}
	restart := func() {
		t.Helper()
		if a.Control, err = control.New(control.Options{Store: s, Edge: edgelink.New(t.TempDir() + "/edge.sock")}); err != nil {
			t.Fatal(err)
		}
	}
	outside := caller.Caller{Identity: access.Identity{Name: "anna", Way: access.ByLogin}, Peer: access.Peer{Addr: netip.MustParseAddr("198.51.100.7")}}
	inside, local := outside, caller.Caller{Identity: access.Local()}
	inside.Peer.Addr = netip.MustParseAddr("192.0.2.7")
	restart()
	if !a.mayReach(outside) || !a.mayReach(inside) || !a.mayReach(local) {
		t.Error("a stream ends without any management networks")
	}
	if _, err := s.Commit(store.Revision{Author: "anna", Document: []byte(`{"schema":1,"management":{"networks":["192.0.2.0/24"]}}`)}); err != nil {
		t.Fatal(err)
	}
	restart()
	if a.mayReach(outside) || !a.mayReach(inside) || !a.mayReach(local) {
		t.Error("the stream from outside of the management networks goes on, or one from inside or over the socket ends")
	}
}

func TestGlanceAsksOnceASecond(t *testing.T) {
	g := glance{taken: time.Now(), seen: Live{Revision: 7}}
	if l, err := g.look(t.Context(), nil); err != nil || l.Revision != 7 {
		t.Errorf("a second look within %s is %+v, %v", glanceFor, l, err)
	}
}
