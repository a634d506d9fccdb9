//go:build e2e

package steering

import (
	"context"
	"testing"
	"time"
)

// TestWatchRoutes: a change is told, many at once are told a few times, and the watch ends.
func TestWatchRoutes(t *testing.T) {
	sh(t, "ip link add watch0 type veth peer name watch1; ip link set watch0 up; ip link set watch1 up; ip addr add 192.0.2.1/24 dev watch0")
	t.Cleanup(func() { sh(t, "ip link del watch0") })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	changed, ended := make(chan struct{}, 1000), make(chan error, 1)
	go func() { ended <- WatchRoutes(ctx, func() { changed <- struct{}{} }) }()
	wait := func() {
		t.Helper()
		select {
		case <-changed:
		case err := <-ended:
			t.Fatalf("the watch ended: %v", err)
		case <-time.After(30 * time.Second):
			t.Fatal("no change was told")
		}
	}
	for begin := time.Now(); len(changed) == 0; time.Sleep(2 * routesSettle) { // it begins at some time
		if time.Since(begin) > 30*time.Second {
			t.Fatal("no change was told")
		}
		sh(t, "ip route replace 10.0.0.0/8 via 192.0.2.254; ip route del 10.0.0.0/8")
	}
	wait()
	sh(t, "for i in $(seq 200); do echo route add 10.$i.0.0/16 via 192.0.2.254; done | ip -batch -")
	wait()
	time.Sleep(5 * routesSettle)
	if more := len(changed); more > 50 {
		t.Errorf("200 changes at once were told %d times", more)
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the watch does not end")
	}
}
