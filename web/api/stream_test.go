package api_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/web/api"
	"breakwater/web/webtest"
)

// follow opens a stream and gives the data of its events.
func (p *person) follow(path string) func() string {
	p.b.t.Helper()
	r, err := http.NewRequestWithContext(p.b.t.Context(), http.MethodGet, p.base+path, nil)
	if err != nil {
		p.b.t.Fatal(err)
	}
	r.Header = p.header.Clone()
	response, err := p.client.Do(r)
	if err != nil {
		p.b.t.Fatal(err)
	}
	p.b.t.Cleanup(func() { _ = response.Body.Close() })
	if got := response.Header.Get("Content-Type"); response.StatusCode != 200 || got != "text/event-stream" {
		p.b.t.Fatalf("%s answers %d %s", path, response.StatusCode, got)
	}
	lines := bufio.NewScanner(response.Body)
	return func() string {
		p.b.t.Helper()
		for lines.Scan() {
			if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return data
			}
		}
		p.b.t.Fatalf("%s ended: %v", path, lines.Err())
		return ""
	}
}

func TestLiveStream(t *testing.T) {
	b := newBox(t)
	b.Edge.Observe(full())
	next := b.token("viewer", access.Viewer).follow("/api/v1/live")
	schema := b.document.schema(t, "components", "schemas", "Live")
	read := func() (l api.Live) {
		data := next()
		validate(t, schema, "an event of the live stream", []byte(data))
		if err := json.Unmarshal([]byte(data), &l); err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := read()
	busy := full()
	busy.Services[0].BytesToClient += 5 << 20
	b.Edge.Observe(busy)
	b.Apply(t, webtest.Document)
	for fast, changed, deadline := false, false, time.Now().Add(10*time.Second); !fast || !changed; {
		l := read()
		fast = fast || l.ToClient > 1<<20 && l.Sessions == 3
		changed = changed || l.Revision == 1 && l.State != first.State
		if time.Now().After(deadline) {
			t.Fatalf("the stream told of the traffic: %v, of the new revision: %v", fast, changed)
		}
	}
	b.Edge.Stop()
	for deadline := time.Now().Add(30 * time.Second); read().EdgeUp; {
		if time.Now().After(deadline) {
			t.Fatal("the stream does not tell that edge is gone")
		}
	}
}

func TestEventStream(t *testing.T) {
	b := newBox(t)
	next := b.local().follow("/api/v1/events")
	killed := status.Killed
	eventually(t, "somebody reads", func() bool {
		return b.Edge.Send(status.Event{Time: time.Now(), Type: status.Disconnect, Reason: &killed, Code: 603, Session: session(7)}) > 0
	})
	validate(t, b.document.schema(t, "components", "schemas", "Event"), "an event", []byte(next()))
}
