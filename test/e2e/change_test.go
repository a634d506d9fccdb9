//go:build e2e

package e2e

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// held is sessions and flows of one family that are open at the same time.
type held struct {
	tcp     []net.Conn
	readers []*bufio.Reader
	udp     []net.Conn
	peers   []netip.AddrPort // of the flows, as the origin saw them
}

// hold opens sessions and flows to port and lets each say something once.
func hold(t *testing.T, f family, port uint16, tcp, udp int) *held {
	t.Helper()
	h := &held{make([]net.Conn, tcp), make([]*bufio.Reader, tcp), make([]net.Conn, udp), make([]netip.AddrPort, udp)}
	t.Cleanup(func() {
		for _, c := range slices.Concat(h.tcp, h.udp) {
			if c != nil {
				_ = c.Close()
			}
		}
	})
	onEach(t, 32, upTo(tcp), func(i int) error {
		c, err := dialTCP(f.at(port))
		if err != nil {
			return err
		}
		h.tcp[i], h.readers[i] = c, bufio.NewReaderSize(c, 512)
		if _, err := c.Write([]byte("begin")); err != nil {
			return err
		}
		_, err = readAnswer(h.readers[i], "begin")
		return err
	})
	onEach(t, 16, upTo(udp), func(i int) error {
		c, err := dialUDP(f.at(port))
		if err != nil {
			return err
		}
		h.udp[i] = c
		// Who speaks twice after an answer has seen one, and may be silent for longer than strangers.
		for range 3 {
			a, err := askUDP(c, "begin")
			if err != nil {
				return err
			}
			h.peers[i] = a.Peer
		}
		return nil
	})
	if t.Failed() {
		t.FailNow()
	}
	return h
}

// verify exchanges a message of its own on every session and flow. A flow that began anew would have another
// address at the origin.
func (h *held) verify(t *testing.T) {
	t.Helper()
	onEach(t, 32, upTo(len(h.tcp)), func(i int) error {
		message := fmt.Sprintf("session %d is still there", i)
		c := h.tcp[i]
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			return err
		}
		if _, err := c.Write([]byte(message)); err != nil {
			return err
		}
		echo := make([]byte, len(message))
		if _, err := readFull(h.readers[i], echo); err != nil || string(echo) != message {
			return fmt.Errorf("got the echo %q (%w), want %q", echo, err, message)
		}
		return nil
	})
	onEach(t, 16, upTo(len(h.udp)), func(i int) error {
		a, err := askUDP(h.udp[i], fmt.Sprintf("flow %d is still there", i))
		if err == nil && a.Peer != h.peers[i] {
			err = fmt.Errorf("got the flow from %s, want it from %s as before", a.Peer, h.peers[i])
		}
		return err
	})
}

// TestSettingsChangesLoseNothing: 2,000 sessions and 500 flows that say nothing while the service they began with
// changes, drains, and goes away.
func TestSettingsChangesLoseNothing(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games := pool("games", f.origin)
		first := service("first", "600")
		apply(t, document([]settings.Pool{games}, first))
		h := hold(t, f, 600, 2000, 500)

		another := service("another", "601")
		moved := pool("games", host(f.origin, 12))
		headed := first
		headed.TCPHeader, headed.UDPHeader, headed.Transparent = "v2", "v2-each", true
		drained := pool("games", f.origin, host(f.origin, 13))
		drained.Origins[0].State = "drain"
		for _, s := range []settings.Settings{
			document([]settings.Pool{games}, first, another),
			document([]settings.Pool{games}, headed),
			document([]settings.Pool{drained}, first),
			document([]settings.Pool{moved}, first),
			document([]settings.Pool{moved}, another),
		} {
			apply(t, s)
		}
		h.verify(t)

		list := sessions(t, "--service", "first", "--client", f.client.String())
		if got, want := len(list), len(h.tcp)+len(h.udp); got != want {
			t.Errorf("got %d sessions and flows of the service that is gone, want %d", got, want)
		}
		c := connect(t, f.at(600))
		closes(t, c, nil)
	})
}

// TestDrainTakesNoNewClients: nor does maintenance; who is there stays.
func TestDrainTakesNoNewClients(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		for _, state := range []string{"drain", "maintenance"} {
			t.Run(state, func(t *testing.T) {
				games := pool("games", f.origin, host(f.origin, 12))
				games.Choice = "round-robin"
				games.Origins[0].Name, games.Origins[1].Name = "games-1", "games-2"
				apply(t, document([]settings.Pool{games}, service("games", "602")))
				h := hold(t, f, 602, 20, 20)
				games.Origins[0].State = state
				apply(t, document([]settings.Pool{games}, service("games", "602")))
				onEach(t, 4, upTo(20), func(int) error {
					return servedBy(f.at(602), "games-2")
				})
				h.verify(t)
			})
		}
	})
}

// servedBy opens a session and a flow and expects one origin behind both.
func servedBy(at netip.AddrPort, origins ...string) error {
	tcp, err := dialTCP(at)
	if err != nil {
		return err
	}
	defer tcp.Close()
	overTCP, err := askTCP(tcp, "hello")
	if err != nil {
		return err
	}
	udp, err := dialUDP(at)
	if err != nil {
		return err
	}
	defer udp.Close()
	overUDP, err := askUDP(udp, "hello")
	if err != nil {
		return err
	}
	for _, a := range []lab.Answer{overTCP, overUDP} {
		if !slices.Contains(origins, a.Origin) {
			return fmt.Errorf("got an answer of %s, want one of %v", a.Origin, origins)
		}
	}
	return nil
}
