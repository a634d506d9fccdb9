package kernel

import (
	"encoding/binary"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"breakwater/appliance/plan"
)

// TestBannedAt: it is who is in a prefix that is in force, and many bans hold nobody up: each session is asked while the box waits.
func TestBannedAt(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	now := time.Now()
	address := func() netip.Addr {
		var b [16]byte
		binary.BigEndian.PutUint32(b[:], 0x20010db8)
		binary.BigEndian.PutUint32(b[4:], random.Uint32())
		if random.IntN(2) == 0 {
			return netip.AddrFrom4([4]byte(b[4:8]))
		}
		return netip.AddrFrom16(b)
	}
	var bans []plan.Ban
	for range plan.MaxBans {
		a := address()
		bits := a.BitLen() - random.IntN(24)
		if a.Is6() {
			bits = 64 - random.IntN(24)
		}
		b := plan.Ban{Prefix: netip.PrefixFrom(a, bits)}
		if random.IntN(3) == 0 {
			b.Until = now.Add(time.Duration(random.IntN(3)-1) * time.Minute)
		}
		bans = append(bans, b)
	}
	banned := bannedAt(bans, now)
	for range 500 {
		a, want := address(), false
		for _, b := range bans {
			want = want || plan.NormalPrefix(b.Prefix).Contains(a) && !b.Over(now)
		}
		if got := banned(netip.AddrFrom16(a.As16())); got != want {
			t.Errorf("%s is banned: %v, want %v", a, got, want)
		}
	}
	began := time.Now()
	for range 200_000 {
		banned(address())
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("to ask for 200,000 clients took %s", took)
	}
}
