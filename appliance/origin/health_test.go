package origin

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestRiseAndFall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, checkedPlan(origins(1, 1)...))
		after(2 * time.Second)
		want(t, "at first", r.up(), "++")
		r.world.set("10.0.0.1", true)
		after(20 * time.Second)
		want(t, "after two bad checks", r.up(), "++")
		after(13 * time.Second)
		want(t, "after three bad checks", r.up(), "-+")
		want(t, "conditions", r.codes(), "origin-down games/o0")
		if got := r.Status()[0].Origins[0].Why; got != "connection refused" {
			t.Errorf("why: got %q", got)
		}
		for i := range 10 {
			want(t, "chosen", pick(t, r.Pool("games"), client(i)), "o1")
		}
		if since := time.Since(r.Status()[0].Origins[0].Since); since > 13*time.Second {
			t.Errorf("down for %s, want at most 13 s", since)
		}
		r.world.set("10.0.0.1", false)
		after(11 * time.Second)
		want(t, "after one good check", r.up(), "-+")
		after(11 * time.Second)
		want(t, "after two good checks", r.up(), "++")
		want(t, "conditions", r.codes(), "")
	})
}

// TestInARow: only results of one kind in a row change the state. Rise is 2, fall is 3.
func TestInARow(t *testing.T) {
	for _, test := range []struct{ checks, want string }{
		{"--.-", "++++"},
		{"--.--.---", "++++++++-"},
		{"---.-.-..", "++------+"},
		{"......---", "++++++++-"},
		{"---..---.", "++--+++--"},
	} {
		t.Run(test.checks, func(t *testing.T) {
			o := poolOf(t, plan.SourceHash, origins(1)...).view.Load().members[0].origin
			var row streak
			got := ""
			for _, c := range test.checks {
				var err error
				if c == '-' {
					err = errors.New("connection refused")
				}
				o.judge(plan.Health{Rise: 2, Fall: 3}, &row, 0, err)
				got += map[bool]string{true: "+", false: "-"}[o.now.Load().up]
			}
			want(t, "state", got, test.want)
		})
	}
}

// TestCancelledCheckIsNoFailure: a check that the plan cut short says nothing about the origin.
func TestCancelledCheckIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New(quiet(), new(health.Set))
		s.check = func(ctx context.Context, _ checkTask) (time.Duration, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		p := checkedPlan(origins(1)...)
		p.Pools[0].Health.Fall = 1
		apply(t, s, p)
		start(t, s)
		after(2 * time.Second)
		p.Pools[0].Origins[0].State = plan.Maintenance
		apply(t, s, p)
		synctest.Wait()
		if o := s.Status()[0].Origins[0]; !o.Up || o.Failures != 0 {
			t.Errorf("got %+v", o)
		}
	})
}

func TestPanicUsesAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		list := origins(1, 1, 1)
		list[2].State = plan.Drain
		r := run(t, checkedPlan(list...))
		r.world.set("10.0.0.1", true)
		r.world.set("10.0.0.2", true)
		after(40 * time.Second)
		want(t, "health", r.up(), "--+")
		want(t, "conditions", r.codes(), "origin-down games/o0, origin-down games/o1, pool-down games")
		if !r.Status()[0].Panic {
			t.Error("the pool does not say that it panics")
		}
		got := pick(t, r.Pool("games"), client(0)) + pick(t, r.Pool("games"), client(1))
		want(t, "chosen", got, "o0o1")
		r.world.set("10.0.0.2", false)
		after(25 * time.Second)
		want(t, "conditions", r.codes(), "origin-down games/o0")
		for i := range 10 {
			want(t, "chosen", pick(t, r.Pool("games"), client(i)), "o1")
		}
	})
}

func TestClientsPutACheckedOriginDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, checkedPlan(origins(1)...))
		after(2 * time.Second)
		o := pickHold(t, r.Pool("games"))
		o.Failed(status.ConnectTimeout)
		o.Failed(status.NetworkUnreachable)
		o.Answered() // not in a row
		o.Failed(status.NetworkUnreachable)
		o.Failed(status.ConnectTimeout)
		synctest.Wait()
		want(t, "after two in a row", r.up(), "+")
		o.Failed(status.ConnectTimeout)
		synctest.Wait()
		want(t, "after three in a row", r.up(), "-")
		want(t, "why", r.Status()[0].Origins[0].Why, "3 connects of clients failed in a row, the last with connect-timeout")
		o.Answered()
		synctest.Wait()
		want(t, "only checks bring it up", r.up(), "-")
		after(10 * time.Second)
		want(t, "after one good check", r.up(), "-")
		after(13 * time.Second)
		want(t, "after two good checks", r.up(), "+")
	})
}

// TestOneTryAfterABackOff: without checks, a down origin gets one client after 10, 20, 40, 60, 60 seconds.
func TestOneTryAfterABackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, planOf(plan.LeastSessions, origins(1, 1)...))
		p := r.Pool("games")
		bad := p.view.Load().members[0].origin
		down(bad)
		synctest.Wait()
		for _, wait := range []time.Duration{10, 20, 40, 60, 60} {
			after(wait*time.Second - time.Millisecond)
			want(t, fmt.Sprintf("just before %d s", wait), triesOf(t, p), "o1 o1 o1 o1")
			after(time.Millisecond)
			got := triesOf(t, p)
			if strings.Count(got, "o0") != 1 {
				t.Fatalf("after %d s: got %s, want o0 once", wait, got)
			}
			bad.Failed(status.ConnectTimeout)
			bad.Failed(status.ConnectTimeout) // of an older client: does not count twice
		}
		after(60 * time.Second)
		triesOf(t, p)
		bad.Answered()
		synctest.Wait()
		want(t, "after an answer", r.up(), "++")
		down(bad)
		for _, wait := range []time.Duration{10, 20} {
			after(wait * time.Second)
			if got := triesOf(t, p); strings.Count(got, "o0") != 1 {
				t.Errorf("again down, after %d s: got %s, want o0 once", wait, got)
			}
			bad.Failed(status.ConnectTimeout)
		}
	})
}

func triesOf(t *testing.T, p *Pool) string {
	t.Helper()
	var names []string
	for i := range 4 {
		names = append(names, pick(t, p, client(i)))
	}
	return strings.Join(names, " ")
}

// TestKeptPortIsJudgedByTraffic: without a port to check there are no checks.
func TestKeptPortIsJudgedByTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checkedPlan(origins(1, 1)...)
		p.Pools[0].Health.Port = 0
		p.Pools[0].Origins[1].FirstPort, p.Pools[0].Origins[1].LastPort = 25565, 25565
		r := run(t, p)
		after(time.Minute)
		if n := len(r.world.times("10.0.0.1")); n != 0 {
			t.Errorf("the origin without a port was checked %d times", n)
		}
		if n := len(r.world.times("10.0.0.2")); n < 5 {
			t.Errorf("the origin with a port was checked %d times, want at least 5", n)
		}
	})
}

func TestChecksAreNotInStep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, checkedPlan(origins(1, 1)...))
		after(time.Hour)
		a, b := r.world.times("10.0.0.1"), r.world.times("10.0.0.2")
		if len(a) < 320 || len(a) > 400 {
			t.Errorf("%d checks in an hour, want about 360", len(a))
		}
		near := 0
		for i := range min(len(a), len(b)) {
			if gap := a[i].Sub(b[i]).Abs(); gap < 100*time.Millisecond {
				near++
			}
		}
		if near > len(a)/4 {
			t.Errorf("%d of %d checks were within 100 ms of the other origin's", near, len(a))
		}
	})
}

// TestApplyWhileRunning: checks follow the plan, and the bubble ends only when no goroutine is left.
func TestApplyWhileRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, checkedPlan(origins(1, 1, 1)...))
		after(5 * time.Second)
		next := checkedPlan(origins(1, 1)...)
		next.Pools[0].Health.Interval = time.Second
		next.Pools[0].Origins[1].State = plan.Maintenance
		apply(t, r.Set, next)
		after(time.Minute)
		if n := len(r.world.times("10.0.0.1")); n < 50 {
			t.Errorf("%d checks in a minute with an interval of one second", n)
		}
		for _, address := range []string{"10.0.0.2", "10.0.0.3"} {
			if n := len(r.world.times(address)); n != 1 {
				t.Errorf("%s, in maintenance or removed, was checked %d times, want once before", address, n)
			}
		}
		for round := range 2 { // the second time it is the very same task that begins again
			next.Pools[0].Origins[1].State = plan.Active
			apply(t, r.Set, next)
			after(time.Minute)
			if n := len(r.world.times("10.0.0.2")); n < 50*(round+1) {
				t.Errorf("active again for %d minutes, it was checked %d times", round+1, n)
			}
			next.Pools[0].Origins[1].State = plan.Maintenance
			apply(t, r.Set, next)
			synctest.Wait()
		}
	})
}

func TestMaintenanceRaisesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := checkedPlan(origins(1, 1)...)
		r := run(t, p)
		r.world.set("10.0.0.1", true)
		after(40 * time.Second)
		want(t, "conditions", r.codes(), "origin-down games/o0")
		p.Pools[0].Origins[0].State = plan.Maintenance
		apply(t, r.Set, p)
		want(t, "conditions in maintenance", r.codes(), "")
		p.Pools[0].Origins[0].State = plan.Drain
		apply(t, r.Set, p)
		want(t, "conditions while it drains", r.codes(), "origin-down games/o0")
		apply(t, r.Set, &plan.Plan{})
		want(t, "conditions of a removed pool", r.codes(), "")
	})
}

// TestScannerCannotPutAnOriginDown: a closed port says nothing of an origin that is dialled at the client's port.
func TestScannerCannotPutAnOriginDown(t *testing.T) {
	for _, test := range []struct {
		name        string
		first, last uint16
		want        string
	}{
		{"the client's port", 0, 0, "+"}, {"a range", 1000, 2000, "+"}, {"one port", 25565, 25565, "-"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				list := origins(1)
				list[0].FirstPort, list[0].LastPort = test.first, test.last
				r := run(t, planOf(plan.SourceHash, list...))
				o := r.Pool("games").view.Load().members[0].origin
				for range 10 {
					o.Failed(status.OriginRefused)
				}
				synctest.Wait()
				want(t, "after ten refusals", r.up(), test.want)
			})
		})
	}
}

// TestAnOriginThatHangsUpOnEverybody is told of once that has gone on for a while, with what it is most often; one word to
// a client ends it.
func TestAnOriginThatHangsUpOnEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := planOf(plan.RoundRobin, origins(1)...)
		r := run(t, p)
		o := pickHold(t, r.Pool("games"))
		hangUps := func(many int, greeted bool) {
			for range many {
				o.HungUp(greeted)
			}
			synctest.Wait()
		}
		hangUps(50, true)
		want(t, "conditions at once", r.codes(), "")
		after(11 * time.Second)
		hangUps(1, true)
		want(t, "conditions after a while", r.codes(), "origin-hangs-up games/o0")
		if got := r.conditions.List()[0].Detail; !strings.Contains(got, "turn the PROXY protocol on at the server") {
			t.Errorf("the detail is %q", got)
		}
		o.Spoke()
		synctest.Wait()
		want(t, "conditions after a word", r.codes(), "")
		hangUps(9, false)
		after(11 * time.Second)
		want(t, "conditions of few", r.codes(), "")
		hangUps(1, false)
		want(t, "conditions of ten", r.codes(), "origin-hangs-up games/o0")
		if got := r.conditions.List()[0].Detail; !strings.Contains(got, "choose that header for the service") {
			t.Errorf("without a header the detail is %q", got)
		}
	})
}
