package origin

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"breakwater/appliance/plan"
)

// A task is one thing that goes on beside the clients. When the plan changes what it depends on, it is another task:
// the old one ends and the new one begins.

// checkTask checks the health of one address.
type checkTask struct {
	origin  *Origin
	address netip.AddrPort
	health  plan.Health
}

// lookupTask keeps the addresses of one DNS name up to date.
type lookupTask struct {
	named    *named
	name     string
	record   plan.Record
	resolver *resolver
}

// lookEvery is how soon it is seen what nobody tells: that the box ran out of source ports, and that this is over.
const lookEvery = 5 * time.Second

// Run checks health and resolves names until ctx ends, then waits for all it started and returns nil.
func (s *Set) Run(ctx context.Context) error {
	var work sync.WaitGroup
	defer work.Wait()
	running := make(map[any]context.CancelFunc)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		wanted := s.tasks()
		for task, cancel := range running {
			if wanted[task] == nil {
				cancel()
				delete(running, task)
			}
		}
		for task, run := range wanted {
			if running[task] == nil {
				taskCtx, cancel := context.WithCancel(ctx)
				running[task] = cancel
				work.Go(func() { run(taskCtx) })
			}
		}
		select {
		case <-ctx.Done():
			for _, cancel := range running {
				cancel()
			}
			return nil
		case <-s.wake:
		case <-look.C:
		}
	}
}

// tasks looks at the state of everything and says what has to run.
func (s *Set) tasks() map[any]func(context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refresh()
	wanted := make(map[any]func(context.Context))
	for _, p := range s.order {
		for _, n := range p.origins {
			if n.spec.Record != plan.RecordNone {
				t := lookupTask{n, n.spec.Address, n.spec.Record, s.resolver}
				wanted[t] = func(ctx context.Context) { s.keepResolved(ctx, t) }
			}
			for _, o := range n.list {
				if address, ok := n.checkAddress(p, o); ok {
					t := checkTask{o, address, p.health}
					wanted[t] = func(ctx context.Context) { s.keepChecked(ctx, t) }
				}
			}
		}
	}
	return wanted
}

// sleep is false when ctx ended before d was over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// about is d give or take a tenth, so that what began together does not stay in step.
func about(d time.Duration) time.Duration {
	return d*9/10 + rand.N(d/5+1) //nolint:gosec // nothing depends on nobody guessing it
}
