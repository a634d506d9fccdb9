package steering

import (
	"context"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
)

// routesSettle is how long changes of routes are gathered: they come by the dozen when an interface comes up.
const routesSettle = 100 * time.Millisecond

// WatchRoutes calls changed whenever routes have changed, until ctx ends. An error says that changes cannot be watched, or that some
// may have been missed.
func WatchRoutes(ctx context.Context, changed func()) error {
	updates, done := make(chan netlink.RouteUpdate, 64), make(chan struct{})
	var failed error // set before updates is closed
	err := netlink.RouteSubscribeWithOptions(updates, done, netlink.RouteSubscribeOptions{ErrorCallback: func(err error) { failed = err }})
	if err != nil {
		return fmt.Errorf("watch routes: %w", err)
	}
	defer func() {
		close(done)
		for range updates { // whoever still sends ends
		}
	}()
	var settled <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case _, more := <-updates:
			if !more {
				return fmt.Errorf("watch routes: %w", failed)
			}
			if settled == nil {
				settled = time.After(routesSettle)
			}
		case <-settled:
			settled = nil
			changed()
		}
	}
}
