package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Ban turns the clients of a prefix away. Edge gets all bans at once, beside the plan: one more must not cost the
// whole plan, and none of them belongs to a revision of the settings.
type Ban struct {
	Prefix netip.Prefix `json:"prefix"`
	Until  time.Time    `json:"until,omitzero"` // zero: for ever
}

// MaxBans bounds the list. Looking an address up costs the same for any number.
const MaxBans = 10_000

// Over tells whether the ban has expired.
func (b Ban) Over(now time.Time) bool { return !b.Until.IsZero() && !now.Before(b.Until) }

// NormalPrefix masks p and writes IPv4 addresses as such, also those in IPv6 notation, so that equal prefixes are
// equal values.
func NormalPrefix(p netip.Prefix) netip.Prefix {
	if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
	}
	return p.Masked()
}

// CheckBans says what makes a list of bans impossible to apply.
func CheckBans(bans []Ban) error {
	if len(bans) > MaxBans {
		return fmt.Errorf("%d bans, at most %d are possible", len(bans), MaxBans)
	}
	for i, b := range bans {
		if !b.Prefix.IsValid() {
			return fmt.Errorf("ban %d has no prefix", i)
		}
	}
	return nil
}

// BansFingerprint is the SHA-256 of a list of bans in any order, as 64 hex digits; empty for none.
func BansFingerprint(bans []Ban) string {
	if len(bans) == 0 {
		return ""
	}
	lines := make([]string, len(bans))
	for i, b := range bans {
		lines[i] = NormalPrefix(b.Prefix).String()
		if !b.Until.IsZero() {
			lines[i] += " " + b.Until.UTC().Format(time.RFC3339Nano)
		}
	}
	slices.Sort(lines)
	sum := sha256.New()
	for _, line := range lines {
		_, _ = fmt.Fprintln(sum, line) // a hash takes everything
	}
	return hex.EncodeToString(sum.Sum(nil))
}
