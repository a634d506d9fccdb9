package plan

import (
	"net/netip"
	"testing"
	"time"
)

func TestBansFingerprint(t *testing.T) {
	until := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	a := Ban{Prefix: netip.MustParsePrefix("203.0.113.0/24")}
	b := Ban{Prefix: netip.MustParsePrefix("198.51.100.0/24"), Until: until}
	same := []Ban{{Prefix: netip.MustParsePrefix("::ffff:198.51.100.9/120"), Until: until.In(time.FixedZone("", 3600))}, {Prefix: netip.MustParsePrefix("203.0.113.77/24")}}
	if BansFingerprint([]Ban{a, b}) != BansFingerprint(same) {
		t.Error("the order and the spelling make another fingerprint")
	}
	for name, other := range map[string][]Ban{
		"one less": {a}, "none": nil, "another time": {a, {Prefix: b.Prefix, Until: until.Add(1)}}, "for ever": {a, {Prefix: b.Prefix}},
		"a longer prefix": {{Prefix: netip.MustParsePrefix("203.0.113.0/25")}, b},
	} {
		if BansFingerprint(other) == BansFingerprint(same) {
			t.Errorf("%s has the same fingerprint", name)
		}
	}
	if BansFingerprint([]Ban{}) != "" {
		t.Error("no bans have a fingerprint")
	}
}

func TestNormalPrefix(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.77/24": "203.0.113.0/24", "::ffff:203.0.113.77/128": "203.0.113.77/32", "::ffff:0:0/96": "0.0.0.0/0", "2001:db8::1/32": "2001:db8::/32", "::/0": "::/0",
	} {
		if got := NormalPrefix(netip.MustParsePrefix(text)); got.String() != want {
			t.Errorf("%s is %s, want %s", text, got, want)
		}
	}
	if NormalPrefix(netip.Prefix{}).IsValid() {
		t.Error("no prefix is one")
	}
}
