package web

import (
	"net/http"
	"testing"
	"time"

	"breakwater/appliance/access"
)

func TestOnlyOurNamesAreAnswered(t *testing.T) {
	b := newBox(t)
	for _, test := range []struct {
		name, host string
		want       int
	}{
		{"an address", "192.0.2.7", 200},
		{"an address with a port", "192.0.2.7:8443", 200},
		{"an IPv6 address", "[2001:db8::1]:8443", 200},
		{"localhost", "localhost:8443", 200},
		{"localhost in capitals with a dot", "LOCALHOST.", 200},
		{"the name of the box", hostName(), 200},
		{"its name in the local network", hostName() + ".local", 200},
		{"a name of somebody else", "rebind.example", 421},
		{"a name that ends like ours", "xlocalhost", 421},
		{"no name", "", 421},
		{"an address as part of a name", "127.0.0.1.nip.example", 421},
	} {
		t.Run(test.name, func(t *testing.T) {
			r, err := http.NewRequest("GET", "/api/v1/status", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Host = test.host
			if w := record(b.handler, r); w.Code != test.want {
				t.Errorf("got %d, want %d", w.Code, test.want)
			}
		})
	}
}

func TestATokenThatIsNoneIsThrottledByPeerOnly(t *testing.T) {
	b := newBox(t)
	good := b.token("good", access.Viewer)
	b.overNetwork()
	statuses := map[int]int{}
	for i := range 20 {
		w := b.call("GET", "/api/v1/status", "", "Authorization", "Bearer wrong", "X-Forwarded-For", "192.0.2."+string(rune('0'+i%10)), "X-Real-IP", "192.0.2.9")
		statuses[w.Code]++
	}
	if statuses[401] == 0 || statuses[401] > 6 || statuses[401]+statuses[429] != 20 {
		t.Errorf("the answers to 20 wrong tokens are %v, want at most 6 of them 401 and all others 429", statuses)
	}
	b.expect("GET", "/api/v1/status", "", 200, "", "Authorization", good)
}

func TestWhoMayReachThePage(t *testing.T) {
	b := newBox(t)
	dir := shortDir(t)
	s, stop := serve(t, b, dir)
	defer stop()
	if _, err := b.control.Propose(t.Context(), []byte(`{"schema":1,"management":{"networks":["192.0.2.0/24"]},"edge":{"interfaces":[],"addresses":[]},"pools":[],"services":[]}`), metaOf("test")); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Timeout: 5 * time.Second}
	if r, err := client.Get("https://" + s.Addresses()[1] + "/"); err == nil {
		_ = r.Body.Close()
		t.Errorf("a peer outside the management networks was answered: %s", r.Status)
	}
}
