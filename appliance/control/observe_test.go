package control_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/history"
	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestSamplesAddServicesAndDropsUp(t *testing.T) {
	b := newBox(t)
	b.edge.Observe(status.Edge{
		Services: []status.Service{
			{Sessions: 3, Flows: 1, SessionsOpened: 10, FlowsOpened: 5, BytesToOrigin: 100, BytesToClient: 200, DatagramsToOrig: 7, DatagramsToCli: 8},
			{Sessions: 4, SessionsOpened: 20, BytesToClient: 1},
		},
		Reasons: []status.ReasonCounter{
			{Reason: status.Normal, Count: 1000}, {Reason: status.Banned, Count: 5}, {Reason: status.NoService, Count: 6}, {Reason: status.Killed, Count: 9},
		},
	})
	live, end := b.Subscribe()
	defer end()
	b.runUntil(func() bool { return len(b.Samples(time.Time{})) == 1 })
	want := history.Sample{Time: b.now, Sessions: 7, Flows: 1, SessionsOpened: 30, FlowsOpened: 5, BytesToOrigin: 100, BytesToClient: 201,
		DatagramsToOrigin: 7, DatagramsToClient: 8, Dropped: 11}
	if got := b.Samples(time.Time{})[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := <-live; got != want {
		t.Errorf("the stream has %+v, want %+v", got, want)
	}
	if got := b.Samples(b.now); len(got) != 0 {
		t.Errorf("got %+v, none is newer", got)
	}
}

func TestOriginHistory(t *testing.T) {
	b := newBox(t)
	now := b.now
	observe := func(started time.Time, since int, up bool, why string) {
		b.edge.Observe(status.Edge{Started: started, Pools: []status.Pool{{Name: "games", Origins: []status.Origin{
			{Name: "one", Address: "10.0.0.20", Up: up, Why: why, Since: now.Add(time.Duration(since) * time.Second)},
			{Name: "two"},
		}}}})
		before := len(b.Samples(time.Time{}))
		b.runUntil(func() bool { return len(b.Samples(time.Time{})) > before })
	}
	want := func(what ...string) {
		t.Helper()
		var got []string
		for _, c := range b.OriginHistory() {
			got = append(got, fmt.Sprintf("%s/%s %s %v %s at %d", c.Pool, c.Origin, c.Address, c.Up, c.Why, c.Time.Sub(now)/time.Second))
		}
		if !slices.Equal(got, what) {
			t.Errorf("got %q, want %q", got, what)
		}
	}
	observe(now, 0, true, "connected")
	want()
	observe(now, 5, false, "refused")
	want("games/one 10.0.0.20 false refused at 5")
	observe(now, 9, false, "refused again")
	want("games/one 10.0.0.20 false refused again at 9", "games/one 10.0.0.20 false refused at 5")
	observe(now.Add(time.Minute), 60, false, "not checked") // another edge: Since begins anew
	observe(now.Add(time.Minute), 70, true, "connected")
	want("games/one 10.0.0.20 true connected at 70", "games/one 10.0.0.20 false refused again at 9", "games/one 10.0.0.20 false refused at 5")
}

func TestLogsOfBothProcesses(t *testing.T) {
	b := newBox(t)
	line := func(second int, message string) logs.Record {
		return logs.Record{Time: b.now.Add(time.Duration(second) * time.Second), Level: "INFO", Message: message}
	}
	own := func() []logs.Record { return []logs.Record{line(1, "first"), line(3, "third")} }
	c, err := control.New(control.Options{Store: b.store, Edge: edgelink.New(b.edge.Socket), Records: own})
	if err != nil {
		t.Fatal(err)
	}
	b.edge.Log(line(2, "second"))
	want := func(want string) {
		t.Helper()
		list, err := c.Logs(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, l := range list {
			got = append(got, l.Process+" "+l.Message)
		}
		if text := strings.Join(got, ", "); text != want {
			t.Errorf("got %q, want %q", text, want)
		}
	}
	want("control first, edge second, control third")
	b.edge.Stop()
	want("control first, control third")
}

func TestPendingTellsWhatItChanges(t *testing.T) {
	b := newBox(t)
	b.mustPropose("one", 0)
	r := b.mustPropose("two", time.Minute)
	if len(r.Pending.Changes) != 3 {
		t.Errorf("got %+v, want a pool less, one more and another pool of the service", r.Pending.Changes)
	}
	b.crash()
	s, err := b.Status(t.Context())
	if err != nil || s.Pending == nil || !slices.Equal(s.Pending.Changes, r.Pending.Changes) {
		t.Errorf("after a crash: %+v, %v, want the same", s.Pending, err)
	}
}

// TestWindowOf50000: only the window comes over the socket.
func TestWindowOf50000(t *testing.T) {
	b := newBox(t)
	sessions := make([]status.Session, 50_000)
	for i := range sessions {
		sessions[i] = status.Session{ID: status.ID(i + 1), Service: "games", BytesToClient: uint64(i),
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), 1000)}
	}
	b.edge.Observe(status.Edge{}, sessions...)
	list, err := b.Sessions(t.Context(), edgelink.SessionQuery{Limit: 100, Offset: 50, Search: "203.0.7.", Sort: "bytes", Descending: true})
	if err != nil {
		t.Fatal(err)
	}
	if list.Total != 50_000 || list.Matched != 256 || len(list.Sessions) != 100 || list.Sessions[0].BytesToClient != 7<<8+255-50 {
		t.Errorf("got %d of %d of %d, the first %+v", len(list.Sessions), list.Matched, list.Total, list.Sessions[0])
	}
	if data, _ := json.Marshal(list); len(data) > 100*512 {
		t.Errorf("the window has %d bytes", len(data))
	}
	_, err = b.Sessions(t.Context(), edgelink.SessionQuery{Sort: "colour"})
	if refusal, ok := errors.AsType[*edgelink.Refusal](err); !ok || refusal.Status != 400 || !strings.Contains(err.Error(), "colour") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestTryService(t *testing.T) {
	b := newBox(t)
	_, err := b.Propose(t.Context(), []byte(`{ "schema": 1,
	  "edge": { "interfaces": ["wan0"], "addresses": ["2001:db8:1::10", "203.0.113.10"] },
	  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" }, { "address": "10.0.0.21", "port": "30000-30009" }, { "address": "games.test" } ] },
	             { "name": "web", "origins": [ { "address": "10.0.0.80" } ] } ],
	  "services": [ { "name": "game", "protocols": ["tcp", "udp"], "ports": ["25565-25574"], "pool": "games", "tcpHeader": "v2", "udpHeader": "spp", "headerTlvs": ["crc32c"] },
	                { "name": "six", "protocols": ["tcp"], "ports": ["80"], "addresses": ["2001:db8:1::10"], "pool": "web" } ] }`), control.Meta{})
	if err != nil {
		t.Fatal(err)
	}
	b.edge.Observe(status.Edge{Pools: []status.Pool{{Name: "games", Origins: []status.Origin{
		{Name: "games-1", Address: "10.0.0.20"}, {Name: "games-2", Address: "10.0.0.21"}, {Name: "games-3"},
	}}, {Name: "web", Origins: []status.Origin{{Name: "web-1", Address: "10.0.0.80"}}}}})
	asked := make(chan plan.Try, 16)
	b.edge.Answer(func(r plan.Try) (status.Trial, error) {
		asked <- r
		return status.Trial{Address: r.Address, Connected: true}, nil
	})
	requests := func(service string) (list []string) {
		trials, err := b.TryService(t.Context(), service)
		if err != nil {
			t.Fatal(err)
		}
		for _, trial := range trials {
			list = append(list, fmt.Sprintf("%s %s %s %s", trial.Origin, trial.Protocol, trial.Address, trial.Error))
		}
		return list
	}
	want := []string{"games-1 tcp 10.0.0.20:25565 ", "games-2 tcp 10.0.0.21:30000 ", "games-3 tcp  The name of this origin leads to no address.",
		"games-1 udp 10.0.0.20:25565 ", "games-2 udp 10.0.0.21:30000 ", "games-3 udp  The name of this origin leads to no address."}
	if got := requests("game"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for range 4 {
		r := <-asked
		header := map[plan.Protocol]string{plan.TCP: "v2", plan.UDP: "spp"}[r.Network]
		if r.Header != header || !r.TLVs.CRC32C || r.Client.String() != "192.0.2.1:40000" || r.Edge.String() != "203.0.113.10:25565" {
			t.Errorf("edge was asked for %+v", r)
		}
	}
	requests("six")
	if r := <-asked; r.Client.String() != "[2001:db8::1]:40000" || r.Edge.String() != "[2001:db8:1::10]:80" || r.Header != "none" {
		t.Errorf("edge was asked for %+v", r)
	}
	if _, err := b.TryService(t.Context(), "nothing"); !errors.Is(err, control.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	b.edge.Answer(func(plan.Try) (status.Trial, error) { return status.Trial{}, errors.New("where no origin may be") })
	if _, err := b.Try(t.Context(), control.TryRequest{Network: plan.TCP, Address: "127.0.0.1:22"}); err == nil || !strings.Contains(err.Error(), "where no origin may be") {
		t.Errorf("got %v, want the refusal of edge", err)
	}
}
