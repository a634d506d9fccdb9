package api

import (
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/store"
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
	a := &API{Access: people}
	anna, _, err := people.Claim(t.Context(), access.Peer{}, people.SetupCode(), "anna", "seven odd lamps over the quay 31")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := people.CreateToken(anna, access.Peer{}, access.NewToken{Name: "ci", Role: access.Viewer}); err != nil {
		t.Fatal(err)
	}
	ci := access.Identity{Name: "ci", Role: access.Viewer, Way: access.ByToken}
	for _, who := range []access.Identity{anna, ci, access.Local()} {
		if !a.stillThere(who) {
			t.Errorf("the stream of %s ends while it may go on", who.Name)
		}
	}
	if err := people.DeleteToken(access.Local(), access.Peer{}, "ci"); err != nil {
		t.Fatal(err)
	}
	if err := people.Revoke(access.Local(), access.Peer{}, anna.LoginID); err != nil {
		t.Fatal(err)
	}
	for _, who := range []access.Identity{anna, ci} {
		if a.stillThere(who) {
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
