package control_test

import (
	"net/netip"
	"slices"
	"testing"

	"breakwater/appliance/store"
)

// TestANewerDocumentDoesNotOpenThePageToEverybody: a box that went back to its older slot cannot use the settings as a
// whole, but knows who may reach its page.
func TestANewerDocumentDoesNotOpenThePageToEverybody(t *testing.T) {
	b := newBox(t)
	document := `{ "schema": 99, "management": { "networks": ["192.0.2.0/24"], "names": ["box.example.org"] }, "regions": [] }`
	if _, err := b.store.Commit(store.Revision{Author: "anna", Time: b.now, Document: []byte(document)}); err != nil {
		t.Fatal(err)
	}
	b.crash()
	if !slices.Contains(b.codes(), "settings-unusable") {
		t.Errorf("conditions %v, want settings-unusable", b.codes())
	}
	for _, test := range []struct {
		peer string
		want bool
	}{
		{"192.0.2.7", true},
		{"203.0.113.7", false},
		{"::ffff:192.0.2.7", true},
		{"2001:db8::7", false},
	} {
		if got := b.MayReach(netip.MustParseAddr(test.peer)); got != test.want {
			t.Errorf("%s may reach the page: %v, want %v", test.peer, got, test.want)
		}
	}
	if got := b.Management().Names; !slices.Equal(got, []string{"box.example.org"}) {
		t.Errorf("the page is opened under %v", got)
	}
}
