//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// wantEvents expects one begin and one end of a client's session or flow, and returns the end.
func wantEvents(t *testing.T, log *eventLog, c net.Conn, reason status.Reason) status.Event {
	t.Helper()
	list := log.of(t, c)
	if len(list) != 2 || list[0].Type != status.Connect || list[1].Type != status.Disconnect || list[0].ID != list[1].ID {
		t.Fatalf("got the events %+v, want one connect and one disconnect", list)
	}
	begin, end := list[0], list[1]
	if begin.Reason != nil || end.Reason == nil || *end.Reason != reason || end.Code != reason.Code() {
		t.Errorf("got the events %+v and %+v, want the reason %s (%d) at the end", begin, end, reason, reason.Code())
	}
	return end
}

// TestEventsOfASession: two events each, the second with what moved and why it ended.
func TestEventsOfASession(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		s := service("told", "1400")
		s.Timeouts.FlowIdle = settings.Duration(time.Second)
		apply(t, document([]settings.Pool{pool("games", f.origin)}, s))
		log := watchEvents(t, f)

		tcp := connect(t, f.at(1400))
		if _, err := tcp.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if err := tcp.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		answered, err := io.ReadAll(tcp)
		if err != nil {
			t.Fatal(err)
		}
		end := wantEvents(t, log, tcp, status.Normal)
		if end.BytesToOrigin != 5 || end.BytesToClient != uint64(len(answered)) || end.Edge != f.at(1400) || end.Origin != "games-1" || end.Service != "told" {
			t.Errorf("got %+v, want 5 bytes to the origin, %d back, and the names of all", end, len(answered))
		}

		udp := connectUDP(t, f.at(1400))
		if _, err := askUDP(udp, "hello"); err != nil {
			t.Fatal(err)
		}
		end = wantEvents(t, log, udp, status.Normal)
		if end.BytesToOrigin < 5 || end.BytesToClient <= end.BytesToOrigin || end.Protocol != plan.UDP || end.Origin != "games-1" {
			t.Errorf("got %+v, want the bytes of the flow and the names of all", end)
		}

		refused := connect(t, f.at(1401))
		closes(t, refused, nil)
		wantEvents(t, log, refused, status.NoService)

		broken := connect(t, f.at(1400))
		if _, err := askTCP(broken, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(broken.SetLinger(0), broken.Close()); err != nil {
			t.Fatal(err)
		}
		wantEvents(t, log, broken, status.ClientReset)
	})
}

// TestKill ends a session with a reset, and forgets a flow.
func TestKill(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		apply(t, document([]settings.Pool{pool("games", f.origin)}, service("games", "1402")))
		log := watchEvents(t, f)
		tcp, udp := connect(t, f.at(1402)), connectUDP(t, f.at(1402))
		if _, err := askTCP(tcp, "hello"); err != nil {
			t.Fatal(err)
		}
		before, err := askUDP(udp, "hello")
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range sessions(t, "--service", "games", "--client", f.client.String()) {
			if s.Client != local(tcp) && s.Client != local(udp) {
				continue
			}
			for _, wantCode := range []int{0, 1} { // there is nothing to end the second time
				if out := breakwater(t, nil, "kill", s.ID.String()); out.code != wantCode {
					t.Errorf("kill %s: got the exit status %d (%s), want %d", s.ID, out.code, out.stderr, wantCode)
				}
			}
		}
		if n, err := tcp.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %d bytes and %v, want a reset", n, err)
		}
		wantEvents(t, log, tcp, status.Killed)
		wantEvents(t, log, udp, status.Killed)
		if after, err := askUDP(udp, "again"); err != nil || after.Peer == before.Peer {
			t.Errorf("got the flow from %s (%v), want a new one", after.Peer, err)
		}
	})
}

// sample is a line of the text format of Prometheus that is not a comment.
var sample = regexp.MustCompile(`^([a-z_]+)(?:\{((?:[a-z_]+="(?:[^"\\]|\\.)*",?)*)\})? (\S+)$`)

func metrics(t *testing.T) map[string]float64 {
	t.Helper()
	response, err := api(t).Get("http://box/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("got %s (%v)", response.Status, err)
	}
	found := map[string]float64{}
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "#") {
			continue
		}
		part := sample.FindStringSubmatch(lines.Text())
		if part == nil {
			t.Fatalf("got the line %q, want NAME{LABELS} VALUE", lines.Text())
		}
		value, err := strconv.ParseFloat(part[3], 64)
		if err != nil {
			t.Errorf("%s: %v", lines.Text(), err)
		}
		found[part[1]+"{"+part[2]+"}"] = value
	}
	return found
}

// settled waits until metrics hold still, as sessions of the case before may end a little later than their clients, and returns all.
func settled(t *testing.T, names []string) (now map[string]float64) {
	t.Helper()
	now = metrics(t)
	eventually(t, func() error {
		before := now
		time.Sleep(moment)
		now = metrics(t)
		for _, name := range names {
			if now[name] != before[name] {
				return fmt.Errorf("%s went from %v to %v", name, before[name], now[name])
			}
		}
		return nil
	})
	return now
}

// TestMetrics: every close is one more of its reason.
func TestMetrics(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 54)
		ends := service("ends", "1403")
		refuses := service("refuses", "1404")
		refuses.Pool, refuses.Path = "down", "user"
		apply(t, document([]settings.Pool{pool("games", f.origin), pool("down", own)}, ends, refuses))
		series := map[uint16]string{
			1403: `breakwater_closes_total{code="200",protocol="tcp",reason="normal"}`,
			1404: `breakwater_closes_total{code="521",protocol="tcp",reason="origin-refused"}`,
			1405: `breakwater_closes_total{code="610",protocol="tcp",reason="no-service"}`,
		}
		before := settled(t, slices.Collect(maps.Values(series)))
		for port := range series {
			c := connect(t, f.at(port))
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(c); err != nil {
				t.Errorf("port %d: %v", port, err)
			}
		}
		eventually(t, func() error {
			after := metrics(t)
			for _, name := range series {
				if after[name] != before[name]+1 {
					return fmt.Errorf("got %s %v, want %v", name, after[name], before[name]+1)
				}
			}
			if after[`breakwater_sessions_opened_total{service="ends"}`] == 0 || after["breakwater_edge_up{}"] != 1 {
				return errors.New("sessions opened, or that edge is up, is missing")
			}
			return nil
		})
	})
}
