package origin

import (
	"fmt"
	"net/netip"
	"testing"
	"testing/synctest"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
)

func addresses(texts ...string) (list []netip.Addr) {
	for _, text := range texts {
		list = append(list, netip.MustParseAddr(text))
	}
	return list
}

// TestSourceAddresses: a pool's source addresses are those that the box has, by IP version, and what it does not have is told.
func TestSourceAddresses(t *testing.T) {
	own := addresses("10.9.0.1", "10.9.0.2", "2001:db8::1", "fe80::1%lan0")
	for _, v := range []struct {
		name          string
		wished        []netip.Addr
		four, six     string
		wrong, detail string
	}{
		{"none", nil, "[]", "[]", "", ""},
		{"all are there", addresses("10.9.0.2", "10.9.0.1", "2001:db8::1"), "[10.9.0.2 10.9.0.1]", "[2001:db8::1]", "", ""},
		{"one is not", addresses("10.9.0.1", "10.9.0.9"), "[10.9.0.1]", "[]", "source-missing games",
			"No interface of this box has 10.9.0.9, so the other source addresses are used: add it to an interface, or take it off the pool."},
		{"none of a version is", addresses("10.9.0.1", "2001:db8::8", "2001:db8::9"), "[10.9.0.1]", "[]", "source-missing games",
			"No interface of this box has 2001:db8::8, 2001:db8::9, so IPv6 origins see the address that the route gives: add it to an interface, or take it off the pool."},
		{"none is", addresses("10.9.0.9", "2001:db8::9"), "[]", "[]", "source-missing games",
			"No interface of this box has 10.9.0.9, 2001:db8::9, so IPv4 and IPv6 origins see the address that the route gives: add it to an interface, or take it off the pool."},
	} {
		t.Run(v.name, func(t *testing.T) {
			r := running{conditions: new(health.Set)}
			r.Set = New(quiet(), r.conditions)
			p := planOf(plan.SourceHash, origins(1)...)
			p.Pools[0].SourceAddresses = v.wished
			if err := r.Apply(p, own); err != nil {
				t.Fatal(err)
			}
			pool := r.Pool("games")
			want(t, "IPv4", fmt.Sprint(pool.SourceAddresses(netip.MustParseAddr("::ffff:192.0.2.9"))), v.four)
			want(t, "IPv6", fmt.Sprint(pool.SourceAddresses(netip.MustParseAddr("2001:db8:2::9"))), v.six)
			want(t, "conditions", r.codes(), v.wrong)
			if v.wrong != "" {
				want(t, "the detail", r.conditions.List()[0].Detail, v.detail)
			}
			if err := r.Apply(p, append(own, v.wished...)); err != nil {
				t.Fatal(err)
			}
			want(t, "conditions when the box has them", r.codes(), "")
			if n := len(pool.SourceAddresses(own[0])) + len(pool.SourceAddresses(own[2])); n != len(v.wished) {
				t.Errorf("%d source addresses are used, want all %d", n, len(v.wished))
			}
		})
	}
}

// TestPortless: that no source port is left towards an origin is a condition, and over a minute after the last client without one.
func TestPortless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := run(t, planOf(plan.SourceHash, origins(1)...))
		o := pickHold(t, r.Pool("games"))
		o.Portless(28232)
		o.Portless(28232)
		after(lookEvery)
		want(t, "conditions", r.codes(), "origin-portless games/o0")
		const detail = "10.0.0.1: 2 sessions and flows so far found none of the 28232 source ports free that there are towards it " +
			"(source addresses: 1, ports of each: 28232); add source addresses of this box to the pool (pools[].sourceAddresses in the settings), or add an origin."
		want(t, "the detail", r.conditions.List()[0].Detail, detail)
		after(portlessFor - 2*lookEvery)
		want(t, "conditions within the minute", r.codes(), "origin-portless games/o0")
		o.Portless(28232)
		after(portlessFor)
		want(t, "conditions after one more", r.codes(), "origin-portless games/o0")
		after(2 * lookEvery)
		want(t, "conditions when it is over", r.codes(), "")
	})
}
