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

// TestStreamsEndWithTheirReader: a request is let in once, and a stream goes on until its login or token ends.
func TestStreamsEndWithTheirReader(t *testing.T) {
	s, _, err := store.Open(t.TempDir(), store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	people, err := access.New(access.Options{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	settings, err := control.New(control.Options{Store: s, Edge: edgelink.New(t.TempDir() + "/edge.sock")})
	if err != nil {
		t.Fatal(err)
	}
	a := &API{Access: people, Control: settings}
	from := func(who access.Identity) caller.Caller {
		return caller.Caller{Identity: who, Peer: access.Peer{Addr: netip.MustParseAddr("198.51.100.7")}}
	}
	anna, _, err := people.Claim(t.Context(), access.Peer{}, people.SetupCode(), "anna", "seven odd lamps over the quay 31")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := people.CreateToken(anna, access.Peer{}, access.NewToken{Name: "ci", Role: access.Viewer}); err != nil {
		t.Fatal(err)
	}
	ci := access.Identity{Name: "ci", Role: access.Viewer, Way: access.ByToken}
	for _, who := range []access.Identity{anna, ci, access.Local()} {
		if !a.stillThere(from(who)) {
			t.Errorf("the stream of %s ends while it may go on", who.Name)
		}
	}
	if _, err := s.Commit(store.Revision{Author: "anna", Document: []byte(`{"schema":1,"management":{"networks":["192.0.2.0/24"]}}`)}); err != nil {
		t.Fatal(err)
	}
	if a.Control, err = control.New(control.Options{Store: s, Edge: edgelink.New(t.TempDir() + "/edge.sock")}); err != nil {
		t.Fatal(err)
	}
	if a.stillThere(from(anna)) || a.stillThere(from(ci)) || !a.stillThere(from(access.Local())) {
		t.Error("the streams from outside of the management networks go on, or that of the socket ends")
	}
	a.Control = settings
	if err := people.DeleteToken(access.Local(), access.Peer{}, "ci"); err != nil {
		t.Fatal(err)
	}
	if err := people.Revoke(access.Local(), access.Peer{}, anna.LoginID); err != nil {
		t.Fatal(err)
	}
	for _, who := range []access.Identity{anna, ci} {
		if a.stillThere(from(who)) {
			t.Errorf("the stream of %s goes on after its end", who.Name)
		}
	}
}

func TestGlanceAsksOnceASecond(t *testing.T) {
	g := glance{taken: time.Now(), seen: Live{Revision: 7}}
	if l, err := g.look(t.Context(), nil); err != nil || l.Revision != 7 {
		t.Errorf("a second look within %s is %+v, %v", glanceFor, l, err)
	}
}
