package access

import (
	"errors"
	"net/netip"
	"slices"
	"testing"
	"time"
)

func newTestThrottle() (*throttle, *clock) {
	c := &clock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
	return newThrottle(c.Now), c
}

// fail makes attempts that stay failed and returns the wait of each that was refused, 0 for the others.
func fail(t *throttle, addr, account string, count int) (waits []time.Duration) {
	for range count {
		_, err := t.admit(netip.MustParseAddr(addr), account)
		var wait time.Duration
		if refused, ok := errors.AsType[*Throttled](err); ok {
			wait = refused.After
		}
		waits = append(waits, wait)
	}
	return waits
}

func TestTheWaitDoubles(t *testing.T) {
	th, c := newTestThrottle()
	if got := fail(th, "192.0.2.1", "anna", 7); !slices.Equal(got, []time.Duration{0, 0, 0, 0, 0, firstWait, firstWait}) {
		t.Errorf("at once: got %v, want five free", got)
	}
	for _, want := range []time.Duration{10 * time.Minute, 20 * time.Minute, 40 * time.Minute, time.Hour, time.Hour} {
		c.advance(fail(th, "192.0.2.1", "anna", 1)[0])
		if got := fail(th, "192.0.2.1", "anna", 2); !slices.Equal(got, []time.Duration{0, want}) {
			t.Errorf("after the wait: got %v, want one more and then %s", got, want)
		}
	}
	c.advance(longestWait + failureWindow + time.Second)
	if got := fail(th, "192.0.2.1", "anna", 6); got[4] != 0 || got[5] != firstWait {
		t.Errorf("after it was quiet: got %v, want all forgiven", got)
	}
}

func TestWhomTheThrottleHits(t *testing.T) {
	tests := []struct {
		name, addr, account string
		want                bool
	}{
		{"the same", "192.0.2.1", "anna", true},
		{"the same, mapped into IPv6", "::ffff:192.0.2.1", "anna", true},
		{"another account from there", "192.0.2.1", "bert", true},
		{"no account from there", "192.0.2.1", "", true},
		{"the account from elsewhere", "192.0.2.2", "anna", false},
		{"the same /64", "2001:db8::ffff:1", "anna", true},
		{"another /64", "2001:db8:0:1::1", "anna", false},
		{"the same link-local peer", "fe80::2%eth0", "anna", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			th, _ := newTestThrottle()
			for _, addr := range []string{"192.0.2.1", "2001:db8::1", "fe80::1%eth1"} {
				fail(th, addr, "anna", freeFailures)
			}
			if got := fail(th, test.addr, test.account, 1)[0] > 0; got != test.want {
				t.Errorf("throttled: got %v, want %v", got, test.want)
			}
		})
	}
}

func TestSuccessForgivesOnlyTheOwnAccount(t *testing.T) {
	th, _ := newTestThrottle()
	addr := netip.MustParseAddr("192.0.2.1")
	fail(th, "192.0.2.1", "bert", 4)
	try, err := th.admit(addr, "anna")
	must(t, err)
	try.succeed()
	if got := fail(th, "192.0.2.1", "bert", 2); got[0] != 0 || got[1] == 0 {
		t.Errorf("after anna's login, bert: got %v, want one more", got)
	}
	if got := fail(th, "192.0.2.1", "anna", 1); got[0] != 0 {
		t.Errorf("anna: got %v, want free", got)
	}
	try, err = th.admit(netip.MustParseAddr("192.0.2.2"), "anna")
	must(t, err)
	try.cancel()
	if got := fail(th, "192.0.2.2", "anna", 6); got[4] != 0 || got[5] == 0 {
		t.Errorf("after an attempt that was taken back: got %v, want five free", got)
	}
}

// TestGuessesAtOnceAreNotMoreThanOneByOne: what is being looked at counts already.
func TestGuessesAtOnceAreNotMoreThanOneByOne(t *testing.T) {
	th, _ := newTestThrottle()
	errOK := errors.New("admitted")
	counts := atOnce(10_000, func(int) error {
		if _, err := th.admit(netip.MustParseAddr("192.0.2.1"), "anna"); err != nil {
			return err
		}
		return errOK
	}, errOK)
	if counts[errOK] != freeFailures {
		t.Errorf("%d of 10,000 were admitted, want %d", counts[errOK], freeFailures)
	}
}

func TestTheThrottleIsBounded(t *testing.T) {
	th, c := newTestThrottle()
	fail(th, "192.0.2.1", "", freeFailures)
	for i := range maxThrottled + 100 {
		c.advance(time.Millisecond)
		fail(th, netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String(), "", 1)
	}
	if len(th.seen) > maxThrottled {
		t.Errorf("%d entries, want at most %d", len(th.seen), maxThrottled)
	}
	c.advance(failureWindow + time.Second)
	fail(th, "192.0.2.9", "", 1)
	if len(th.seen) > 2 {
		t.Errorf("%d entries after all was forgiven, want only what is new", len(th.seen))
	}
}

func TestAClockSetBackMakesNoWaitLonger(t *testing.T) {
	th, c := newTestThrottle()
	fail(th, "192.0.2.1", "anna", freeFailures)
	c.advance(-365 * 24 * time.Hour)
	if got := fail(th, "192.0.2.1", "anna", 1)[0]; got != firstWait {
		t.Errorf("got %s, want %s", got, firstWait)
	}
	c.advance(firstWait)
	if got := fail(th, "192.0.2.1", "anna", 1)[0]; got != 0 {
		t.Errorf("after the wait: got %s, want none", got)
	}
}
