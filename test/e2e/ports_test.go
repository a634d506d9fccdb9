//go:build e2e

package e2e

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

func TestEveryTCPPort(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		all := service("everything", "1-65535")
		all.TCPHeader = "v2"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, all))
		onEach(t, 64, upTo(65535), func(i int) error { return seesTCP(f, uint16(i+1)) })
	})
}

// seesTCP connects once: the origin sees the client's address and the port that it dialled, and echoes.
func seesTCP(f family, port uint16) error {
	c, err := dialTCP(f.at(port))
	if err != nil {
		return err
	}
	defer c.Close()
	got, err := askTCP(c, fmt.Sprintf("port %d", port))
	if err != nil {
		return err
	}
	want := lab.Answer{Origin: "games-1", Peer: got.Peer, Header: "v2", Source: local(c), Destination: f.at(port)}
	if got != want {
		return fmt.Errorf("got %+v, want %+v", got, want)
	}
	return nil
}

func TestRandomUDPPorts(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		all := service("everything", "1-65535")
		all.UDPHeader = "v2-each"
		apply(t, document([]settings.Pool{pool("games", f.origin)}, all))
		random := rand.New(rand.NewPCG(1, 2))
		ports := random.Perm(65535)[:1000]
		onEach(t, 16, upTo(len(ports)), func(i int) error {
			at := f.at(uint16(ports[i] + 1))
			c, err := dialUDP(at)
			if err != nil {
				return err
			}
			defer c.Close()
			got, err := askUDP(c, fmt.Sprint("to ", at))
			if err != nil {
				return err
			}
			if want := (lab.Answer{Origin: "games-1", Peer: got.Peer, Header: "v2", Source: local(c), Destination: at}); got != want {
				return fmt.Errorf("got %+v, want %+v", got, want)
			}
			return nil
		})
	})
}

// onEach does what next gives out, many at a time, and stops after a few failures.
func onEach(t *testing.T, workers int, next func() (int, bool), do func(int) error) {
	t.Helper()
	var working sync.WaitGroup
	var failed atomic.Int32
	for range workers {
		working.Go(func() {
			for n, ok := next(); ok && failed.Load() < 10; n, ok = next() {
				if err := do(n); err != nil {
					failed.Add(1)
					t.Errorf("%d: %v", n, err)
				}
			}
		})
	}
	working.Wait()
}

// upTo counts for onEach.
func upTo(n int) func() (int, bool) {
	var next atomic.Int64
	return func() (int, bool) {
		i := int(next.Add(1)) - 1
		return i, i < n
	}
}
