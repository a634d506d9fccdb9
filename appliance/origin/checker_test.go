package origin

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

// checker is the outside world of the health checks: which addresses answer, and who asked when.
type checker struct {
	mu     sync.Mutex
	broken map[netip.Addr]bool
	asked  map[netip.Addr][]time.Time
}

func (c *checker) check(_ context.Context, t checkTask) (time.Duration, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked[t.address.Addr()] = append(c.asked[t.address.Addr()], time.Now())
	if c.broken[t.address.Addr()] {
		return 0, errors.New("connection refused")
	}
	return time.Millisecond, nil
}

func (c *checker) set(address string, broken bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.broken[netip.MustParseAddr(address)] = broken
}

func (c *checker) times(address string) []time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.asked[netip.MustParseAddr(address)])
}

// running is a set whose Run goes on until the end of the test.
type running struct {
	*Set
	world      *checker
	conditions *health.Set
}

func run(t *testing.T, p *plan.Plan) running {
	t.Helper()
	r := running{world: &checker{broken: map[netip.Addr]bool{}, asked: map[netip.Addr][]time.Time{}}, conditions: new(health.Set)}
	r.Set = New(quiet(), r.conditions)
	r.Set.check = r.world.check
	apply(t, r.Set, p)
	start(t, r.Set)
	return r
}

func start(t *testing.T, s *Set) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run returned %v", err)
		}
	})
}

// after lets time pass in the bubble.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func checkedPlan(list ...plan.Origin) *plan.Plan {
	p := planOf(plan.RoundRobin, list...)
	p.Pools[0].Health = plan.Health{
		Check: plan.CheckTCP, Port: 80, Interval: 10 * time.Second, Timeout: time.Second, Rise: 2, Fall: 3,
	}
	return p
}

func (r running) up() string {
	out := ""
	for _, o := range r.Status()[0].Origins {
		out += map[bool]string{true: "+", false: "-"}[o.Up]
	}
	return out
}

func (r running) codes() string {
	var list []string
	for _, c := range r.conditions.List() {
		list = append(list, c.Code+" "+c.Subject)
	}
	return strings.Join(list, ", ")
}

func want(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}
