package main

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain makes the test binary both ends of the path, as the bench does with itself.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "load" || os.Args[1] == "origin") {
		if err := run(context.Background(), os.Args[1:], os.Stdout); err != nil {
			os.Stderr.WriteString(err.Error())
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// ends starts load and origin on loopback and returns a bench of them and the origin's address.
func ends(t *testing.T, header Header) (*bench, netip.AddrPort) {
	t.Helper()
	cores, err := allowedCores()
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().(*net.TCPAddr).AddrPort()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	b := &bench{}
	t.Cleanup(func() {
		if err := b.stop(); err != nil {
			t.Error(err)
		}
	})
	ports := `[{"listen":"` + addr.String() + `","header":"` + string(header) + `"}]`
	if b.origin, err = startEnd("", cores[0], "origin", ports); err != nil {
		t.Fatal(err)
	}
	if b.load, err = startEnd("", cores[len(cores)-1], "load"); err != nil {
		t.Fatal(err)
	}
	counts(t, b) // it answers once it listens
	return b, addr
}

func TestEndsAgreeOnEveryLoad(t *testing.T) {
	b, addr := ends(t, HeaderNone)
	for _, tc := range []struct {
		name     string
		job      job
		sessions int64 // connections in prepare and run
	}{
		{"one connection after another", job{Kind: kindConnections, Sessions: 1}, -1},
		{"connections at once", job{Kind: kindConnections, Sessions: 32}, -1},
		{"messages on one session", job{Kind: kindMessages, Sessions: 1}, 1},
		{"messages on many sessions", job{Kind: kindMessages, Sessions: 100}, 100},
		{"download on one stream", job{Kind: kindDownload, Sessions: 1}, 1},
		{"download on many streams", job{Kind: kindDownload, Sessions: 8}, 8},
		{"upload on one stream", job{Kind: kindUpload, Sessions: 1}, 1},
		{"upload on many streams", job{Kind: kindUpload, Sessions: 8}, 8},
		{"small datagrams", job{Kind: kindDatagrams, Sessions: 100, Size: 64}, 0},
		{"large datagrams", job{Kind: kindDatagrams, Sessions: 100, Size: 1200}, 0},
		{"idle sessions", job{Kind: kindIdle, Sessions: 200}, 200 + warmSessions},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := counts(t, b)
			j := tc.job
			j.To, j.Warm, j.Time = addr, 5*time.Millisecond, 30*time.Millisecond
			prepared, ran := orders(t, b, j)
			after := counts(t, b)
			tt := &target{header: HeaderNone}
			if got := verdict(tt, prepared, ran, before, after); got != "" {
				t.Errorf("verdict: got %q, want none", got)
			}
			opened := prepared.Connections + ran.Connections
			if tc.sessions >= 0 && opened != tc.sessions {
				t.Errorf("sessions opened: got %d, want %d", opened, tc.sessions)
			}
			if got := after.Connections - before.Connections; got != opened {
				t.Errorf("origin saw %d connections, want %d", got, opened)
			}
			if withTrips := j.Kind == kindMessages && j.Sessions == 1; withTrips != (ran.P50 > 0 && ran.P99 >= ran.P50) {
				t.Errorf("round trip p50 %s, p99 %s", ran.P50, ran.P99)
			}
		})
	}
}

func TestOriginRefusesConnectionsWithoutTheirHeader(t *testing.T) {
	for _, header := range []Header{HeaderV1, HeaderV2} {
		t.Run(string(header), func(t *testing.T) {
			b, addr := ends(t, header)
			before := counts(t, b)
			prepared, ran := orders(t, b, job{Kind: kindMessages, Sessions: 1, To: addr, Warm: time.Millisecond, Time: time.Millisecond})
			after := counts(t, b)
			if after.Errors <= before.Errors || !strings.Contains(after.First, errNoHeader.Error()) {
				t.Errorf("origin: got %+v, want errors that say %q", after, errNoHeader)
			}
			if got := verdict(&target{header: header}, prepared, ran, before, after); got == "" {
				t.Error("the cell passed")
			}
		})
	}
}

func orders(t *testing.T, b *bench, j job) (prepared, ran tally) {
	t.Helper()
	var err error
	if prepared, err = b.order("prepare", j); err != nil {
		t.Fatal(err)
	}
	if ran, err = b.order("run", j); err != nil {
		t.Fatal(err)
	}
	if _, err := b.order("finish", j); err != nil {
		t.Fatal(err)
	}
	return prepared, ran
}

func counts(t *testing.T, b *bench) originCounts {
	t.Helper()
	c, err := b.originCounts()
	if err != nil {
		t.Fatal(err)
	}
	return c
}
