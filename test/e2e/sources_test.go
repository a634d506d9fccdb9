//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// eachPath runs f for both engines and IP versions, with a service of the name and port that f is given.
func eachPath(t *testing.T, change func(*settings.Service), f func(t *testing.T, f family, port uint16)) {
	t.Helper()
	eachFamily(t, func(t *testing.T, fam family) {
		kernel, user := onKernelPath(service("kernel", "4301")), service("user", "4302")
		user.Path = "user"
		change(&kernel)
		change(&user)
		apply(t, document([]settings.Pool{pool("games", fam.origin)}, kernel, user))
		for port, name := range map[uint16]string{4301: "kernel", 4302: "user"} {
			t.Run(name, func(t *testing.T) { f(t, fam, port) })
		}
	})
}

// served opens a session that goes on.
func served(t *testing.T, f family, port uint16) net.Conn {
	t.Helper()
	c := connect(t, f.at(port))
	if _, err := askTCP(c, "hello"); err != nil {
		t.Error(err)
	}
	return c
}

// refused opens a session that ends without a word.
func refused(t *testing.T, f family, port uint16) {
	t.Helper()
	c := connect(t, f.at(port))
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("got %q (%v), want a session that is closed", got, err)
	}
}

// counted expects that a reason is counted as often since before. A client may see the end of its session a moment earlier.
func counted(t *testing.T, protocol plan.Protocol, reason status.Reason, before, want uint64) {
	t.Helper()
	eventually(t, func() error {
		if got := reasons(t, protocol)[reason] - before; got != want {
			return fmt.Errorf("got %d counted as %s, want %d", got, reason, want)
		}
		return nil
	})
}

// TestSessionsOfOneAddress: an address gets as many sessions as it may have, on either path, and another when one has ended.
func TestSessionsOfOneAddress(t *testing.T) {
	for reason, change := range map[status.Reason]func(*settings.Service){
		status.AddressLimit: func(s *settings.Service) { s.Limits.MaxSessionsPerAddress = 3 },
		status.NetworkLimit: func(s *settings.Service) { s.Limits.MaxSessionsPerNetwork = 3 },
	} {
		t.Run(reason.String(), func(t *testing.T) {
			eachPath(t, change, func(t *testing.T, f family, port uint16) {
				before := reasons(t, plan.TCP)[reason]
				first := served(t, f, port)
				for range 2 {
					served(t, f, port)
				}
				refused(t, f, port)
				counted(t, plan.TCP, reason, before, 1)
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}
				eventually(t, func() error { return servedBy(f.at(port), "games-1") })
			})
		})
	}
}

// TestNewSessionsOfOneAddress: five seconds' worth of sessions come at once, and one each second after that.
func TestNewSessionsOfOneAddress(t *testing.T) {
	eachPath(t, func(s *settings.Service) { s.Limits.NewSessionsPerAddress = 1 }, func(t *testing.T, f family, port uint16) {
		before := reasons(t, plan.TCP)[status.AddressRate]
		for n := range 20 {
			if servedBy(f.at(port), "games-1") == nil {
				continue
			}
			if n < 5 {
				t.Errorf("session %d is refused, of five at once", n+1)
			}
			counted(t, plan.TCP, status.AddressRate, before, 1)
			return
		}
		t.Error("20 sessions came at once, of five")
	})
}

// TestSilentClient: a client that says nothing is closed, and one that has said something is not.
func TestSilentClient(t *testing.T) {
	eachPath(t, func(s *settings.Service) { s.Timeouts.FirstByte = settings.Duration(2 * time.Second) }, func(t *testing.T, f family, port uint16) {
		before := reasons(t, plan.TCP)[status.FirstByteTimeout]
		talks, silent := connect(t, f.at(port)), connect(t, f.at(port))
		if _, err := askTCP(talks, "hello"); err != nil {
			t.Fatal(err)
		}
		if err := silent.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := silent.Read(make([]byte, 512)); err != nil { // the origin speaks first
				if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
					t.Error("a client that says nothing is not closed")
				}
				break
			}
		}
		counted(t, plan.TCP, status.FirstByteTimeout, before, 1)
		echoes(t, talks, "still here")
	})
}
