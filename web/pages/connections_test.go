package pages_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// connected makes sessions, the last one the newest.
func connected(n int) []status.Session {
	list := make([]status.Session, n)
	for i := range list {
		protocol := plan.TCP
		if i%3 == 0 {
			protocol = plan.UDP
		}
		client := netip.AddrFrom4([4]byte{198, 18, byte(i >> 8), byte(i)})
		if i%7 == 0 {
			client = netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%x", i))
		}
		list[i] = status.Session{
			ID: status.ID(i + 1), Protocol: protocol, Path: plan.PathUser, Service: "everything", Client: netip.AddrPortFrom(client, uint16(10000+i%50000)),
			Edge: netip.MustParseAddrPort("203.0.113.10:25565"), Origin: "games-1", OriginAddress: netip.MustParseAddrPort("10.0.0.20:25565"),
			Started: time.Now().Add(time.Duration(i-n) * time.Second), Idle: float64(i % 60), BytesToOrigin: uint64(i) * 1000, BytesToClient: uint64(i) * 9000, State: "open",
		}
	}
	return list
}

func TestConnections(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	b.Get("/connections").Want(t, 200, "Nobody is connected")
	site.Apply(t, webtest.Document)
	site.Edge.Observe(status.Edge{}, connected(120)...)
	page := b.Get("/connections").Want(t, 200, "120 sessions and flows", "198.18.0.118:10118", "1 to 50 of 120", `title="carried by the user path"`, `rel="next"`, "Kick")
	if strings.Contains(page.Body, "198.18.0.50:") {
		t.Error("the first page has the 70th row")
	}
	b.Get("/connections?offset=100").Want(t, 200, "101 to 120 of 120", `rel="prev"`)
	b.Get("/connections?search=198.18.0.64:").Want(t, 200, "1 of 120", "198.18.0.64:10064")
	b.Get("/connections?search=nobody").Want(t, 200, "Nothing matches", "Show all")
	b.Get("/connections?sort=bytes&order=asc").Want(t, 200, `aria-sort="ascending"`, "order=desc&amp;sort=bytes")
	b.Get("/connections?"+url.Values{"search": {hostile + strings.Repeat("x", 300)}, "sort": {hostile}, "order": {"up"}, "offset": {"-7"}, "service": {hostile}}.Encode()).Want(t, 200, "Nothing matches")

	site.Edge.Stop()
	b.Get("/connections").Want(t, 200, "The data plane does not answer")
}

func TestHostileNamesInTheTable(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	s := connected(2)
	s[1].Service, s[1].Origin, s[1].State = hostile, hostile, hostile
	site.Edge.Observe(status.Edge{}, s...)
	if page := b.Get("/connections").Want(t, 200, "&lt;img"); strings.Contains(page.Body, "<img") {
		t.Error("a name became markup")
	}
}

func TestViewersAreNotOfferedWhatTheyMayNot(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "vera", access.Viewer)
	site.Edge.Observe(status.Edge{}, connected(3)...)
	page := b.Get("/connections").Want(t, 200, "3 sessions and flows")
	if strings.Contains(page.Body, "/kick") || strings.Contains(page.Body, "<dialog") {
		t.Error("a viewer is offered to kick or ban")
	}
	b.Post("/connections/0000000000000001/kick", nil).Want(t, 403)
	b.Post("/connections/ban", url.Values{"client": {"198.18.0.1"}, "for": {"1h"}}).Want(t, 403)
}

func TestKick(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	site.Edge.Observe(status.Edge{}, connected(3)...)
	here := url.Values{"here": {"/connections?search=198"}}
	page := b.Post("/connections/0000000000000002/kick", here).Want(t, 303)
	if got, want := page.Header.Get("Location"), "/connections?search=198&done=kicked"; got != want {
		t.Errorf("leads to %s, want %s", got, want)
	}
	b.Get(page.Header.Get("Location")).Want(t, 200, "Kicked. The player can connect again.")
	if left := site.Edge.Sessions(); len(left) != 2 || left[1].ID != 3 {
		t.Errorf("the sessions left are %+v", left)
	}
	page = b.Post("/connections/0000000000000002/kick", here).Want(t, 303)
	b.Get(page.Header.Get("Location")).Want(t, 200, "It had ended already.")
	b.Post("/connections/x/kick", here).Want(t, 400)
	page = b.Post("/connections/0000000000000001/kick", url.Values{"here": {"https://evil.example"}}).Want(t, 303)
	if got := page.Header.Get("Location"); got != "/?done=kicked" {
		t.Errorf("leads to %s", got)
	}
	entries, err := site.Access.Audit(0, 10)
	if err != nil || entries[0].Action != "kill" || entries[0].Who != "olga" {
		t.Errorf("the audit log says %+v, %v", entries[:1], err)
	}
}

func TestBanFromTheTable(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "olga", access.Operator)
	for client, want := range map[string]string{"198.18.0.1:10001": "198.18.0.1/32", "[2001:db8:1::7]:10007": "2001:db8:1::7/128", " 198.18.9.0/24 ": "198.18.9.0/24", "::ffff:198.18.0.9": "198.18.0.9/32"} {
		page := b.Post("/connections/ban", url.Values{"client": {client}, "for": {"1h"}, "reason": {hostile}, "here": {"/connections"}}).Want(t, 303)
		if got := page.Header.Get("Location"); got != "/connections?done=banned" {
			t.Errorf("leads to %s", got)
		}
		b.Get("/shield").Want(t, 200, want, "olga", "&lt;img")
	}
	if n := len(site.Edge.Bans()); n != 4 {
		t.Errorf("edge has %d bans, want 4", n)
	}
}
