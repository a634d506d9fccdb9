package access

import (
	"bytes"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/store"
)

const (
	goodPassword  = "plain tulip harbour 9"
	otherPassword = "quiet lantern meadow 4"
)

// clock is set by tests.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// box is a state directory with an Access on it.
type box struct {
	*Access
	clock *clock
	dir   string
	log   *bytes.Buffer
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{clock: &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}, dir: t.TempDir(), log: &bytes.Buffer{}}
	b.start(t)
	t.Cleanup(func() { b.stop(t) })
	return b
}

func (b *box) start(t *testing.T) {
	t.Helper()
	s, _, err := store.Open(b.dir, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	b.Access, err = New(Options{Store: s, Now: b.clock.Now, Log: slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		t.Fatal(err)
	}
	b.hasher.memory = 8 // KiB; the real cost is tested by itself
}

func (b *box) stop(t *testing.T) {
	t.Helper()
	if err := b.store.Close(); err != nil {
		t.Error(err)
	}
}

// restart is what happens to memory when control is restarted.
func (b *box) restart(t *testing.T) {
	t.Helper()
	b.stop(t)
	b.start(t)
}

// claimed is a box whose admin is anna, with the cookie of her login.
func claimed(t *testing.T) (b *box, anna Identity, cookie string) {
	t.Helper()
	b = newBox(t)
	anna, cookie, err := b.Claim(t.Context(), peer(0), b.SetupCode(), "anna", goodPassword)
	if err != nil {
		t.Fatal(err)
	}
	return b, anna, cookie
}

// peer is one of many TCP peers.
func peer(i int) Peer {
	return Peer{Addr: netip.AddrFrom4([4]byte{192, 0, byte(i / 250), byte(1 + i%250)}), Agent: "test", At: "box.example:8443"}
}

// must fails the test on an error: must(t, b.SetRole(…)).
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// atOnce calls f with 0 to n-1 from as many goroutines and counts the errors by their kind.
func atOnce(n int, f func(i int) error, kinds ...error) map[error]int {
	counts := map[error]int{}
	var mu sync.Mutex
	var group sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-gate
			err := f(i)
			mu.Lock()
			defer mu.Unlock()
			for _, kind := range kinds {
				if errors.Is(err, kind) {
					counts[kind]++
					return
				}
			}
			counts[err]++
		})
	}
	close(gate)
	group.Wait()
	return counts
}

func isThrottled(err error) bool {
	_, throttled := errors.AsType[*Throttled](err)
	return throttled
}

func (b *box) actions(t *testing.T) (list []string) {
	t.Helper()
	entries, err := b.Audit(0, 1000)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		list = append(list, e.Action)
	}
	return list
}
