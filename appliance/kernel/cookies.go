package kernel

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"slices"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// SYN cookies (bpf/cookie.h, bpf/admit.h). The programs decide alone when a service is flooded, answer, and give whoever is there
// for real to a listener of the user path. Here are their keys, what the box's TCP takes, and the listeners.

const (
	epochShift = 36 // of ns; bpf/cookie.h
	// keyEpochs is how many epochs a key is used for: four and a half minutes. Then cookies of the one before are long out of date.
	keyEpochs = 4
	// nextEpoch is how far ahead a new key is written, so that no packet needs it meanwhile.
	nextEpoch = 2

	offerScale, offerSACK, offerTimestamps = 1, 2, 4

	maxListeners = 256

	cookiesSent, cookiesAccepted = 0, 1

	synAlways = 1<<32 - 1
	// defaultSYNRate is the rate of SYNs that arms cookies where a plan says none.
	defaultSYNRate = 500
)

// offers are what cookies may promise, by the sysctl that has to be on.
var offers = map[string]uint32{
	"tcp_window_scaling": offerScale, "tcp_sack": offerSACK, "tcp_timestamps": offerTimestamps,
}

// synRate is how many SYNs a second arm cookies, as the program knows it.
func synRate(s *plan.ServiceShield) uint32 {
	switch s.SYNCookies {
	case plan.SYNCookiesOff:
		return 0
	case plan.SYNCookiesOn:
		return synAlways
	case plan.SYNCookiesAuto:
	}
	if s.SYNRate <= 0 {
		return defaultSYNRate
	}
	return limit(s.SYNRate)
}

// alwaysCookies tells whether cookies answer for a service in peace, too.
func (k *Path) alwaysCookies(number uint32) bool {
	return slices.ContainsFunc(k.tables.guards, func(g bpfGuard) bool { return g.Number == number && g.SynRate == synAlways })
}

// openCookies takes over the keys of the last process, as its cookies are still good, or makes the first.
func (k *Path) openCookies() error {
	if err := k.objects.CookieStates.Lookup(uint32(0), &k.cookies); err != nil {
		return fmt.Errorf("read the keys of SYN cookies: %w", err)
	}
	if k.cookies.Seed == 0 {
		for _, n := range []*uint64{&k.cookies.Seed, &k.cookies.Keys[0].Key[0], &k.cookies.Keys[0].Key[1]} {
			*n = random64()
		}
	}
	k.cookies.Mark = k.options.Mark
	return k.renewCookies()
}

// renewCookies writes the next key when the one in use is old enough, and what TCP takes by now.
func (k *Path) renewCookies() error {
	was := k.cookies
	c := &k.cookies
	epoch := now() >> epochShift
	newest, other := &c.Keys[0], &c.Keys[1]
	if other.Since > newest.Since {
		newest, other = other, newest
	}
	if epoch >= newest.Since+keyEpochs {
		*other = bpfCookieKey{Since: epoch + nextEpoch, Key: [2]uint64{random64(), random64()}}
	}
	var err error
	if c.Offers, err = offered(); err != nil {
		return err
	}
	if *c == was && was.Offers != 0 {
		return nil
	}
	if err := k.objects.CookieStates.Put(uint32(0), c); err != nil {
		return fmt.Errorf("write the keys of SYN cookies: %w", err)
	}
	return nil
}

func random64() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails: crypto/rand
	return binary.NativeEndian.Uint64(b[:])
}

func offered() (offer uint32, err error) {
	for name, bit := range offers {
		value, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
		if err != nil {
			return 0, fmt.Errorf("ask what TCP takes: %w", err)
		}
		if !bytes.HasPrefix(value, []byte("0")) {
			offer |= bit
		}
	}
	return offer, nil
}

const noCookies = "no-syn-cookies"

// Listen tells the programs which sockets take the connections of SYN cookies: transparent listeners of the user path, of IPv4
// and of IPv6, as many of each. Without any, or when they are closed, cookies rest. A condition tells why; ListenAgain tries again.
func (k *Path) Listen(v4, v6 []int) error {
	k.mu.Lock()
	err := k.listen(v4, v6)
	k.mu.Unlock()
	if err == nil {
		k.options.Conditions.Clear(noCookies, "")
		return nil
	}
	k.options.Conditions.Raise(health.Condition{
		Code: noCookies, Severity: health.Warning, Title: "The shield cannot answer floods of SYNs",
		Detail: "SYN cookies rest for every service, as none can be given to the user path: " + err.Error() +
			". Until then the kernel's own cookies answer, which take more of the processor. It is tried again every few seconds; if this stays, " +
			"send the diagnostics.",
	})
	return fmt.Errorf("tell SYN cookies where the user path listens: %w", err)
}

// ListenAgain is Listen where the programs have no listener: it failed, or somebody else took them away. The sockets must be open.
func (k *Path) ListenAgain(v4, v6 []int) error {
	if k.listens() {
		return nil
	}
	return k.Listen(v4, v6)
}

// listens tells whether the programs have the listener that they look at.
func (k *Path) listens() bool {
	var cookie uint64 // that the kernel gives the socket
	return k.objects.Listeners.Lookup(uint32(0), &cookie) == nil
}

// listen is Listen without the condition. k.mu is held.
func (k *Path) listen(v4, v6 []int) error {
	count := min(len(v4), len(v6), maxListeners)
	var failed []error
	if count == 0 {
		failed = append(failed, fmt.Errorf("it has %d listeners of IPv4 and %d of IPv6", len(v4), len(v6)))
	}
	for i := range count {
		// The first of IPv4 is what the programs look at, so it comes last.
		at := count - 1 - i
		failed = append(failed, k.putListener(maxListeners+at, v6[at]), k.putListener(at, v4[at]))
	}
	k.cookies.Listeners = uint32(count) //nolint:gosec // bounded
	failed = append(failed, k.objects.CookieStates.Put(uint32(0), &k.cookies))
	err := errors.Join(failed...)
	if err != nil { // a client of one that is missing would be turned away
		_ = k.objects.Listeners.Delete(uint32(0)) // it may be the one that is missing
	}
	return err
}

func (k *Path) putListener(at, fd int) error {
	return k.objects.Listeners.Put(uint32(at), uint64(fd)) //nolint:gosec // an index and a descriptor
}

// cookieStatus adds what cookies did.
func (k *Path) cookieStatus(into *status.Edge) (err error) {
	c := &into.Shield.Cookies
	if c.Sent, err = sum(k.objects.Cookies, cookiesSent); err != nil {
		return err
	}
	if c.Accepted, err = sum(k.objects.Cookies, cookiesAccepted); err != nil {
		return err
	}
	c.Refused, err = sum(k.objects.ShieldDrops, uint32(status.BadCookie)) // TCP's are first
	return err
}
