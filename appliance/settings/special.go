package settings

import "net/netip"

// SpecialRange is a range of addresses that is no single host's own address on a network.
type SpecialRange struct {
	Prefix netip.Prefix
	What   string // such as "loopback"
}

// SpecialRanges are the addresses that neither clients can dial nor origins can have (RFC 6890 names most of them).
// A connection to one of them would stay on the box or reach many hosts at once.
func SpecialRanges() []SpecialRange {
	return []SpecialRange{
		{netip.MustParsePrefix("0.0.0.0/8"), "unspecified"}, // Linux connects 0.0.0.0 to the host itself
		{netip.MustParsePrefix("127.0.0.0/8"), "loopback"},
		{netip.MustParsePrefix("169.254.0.0/16"), "link-local"}, // with the metadata service of clouds, 169.254.169.254
		{netip.MustParsePrefix("224.0.0.0/4"), "multicast"},
		{netip.MustParsePrefix("255.255.255.255/32"), "broadcast"},
		{netip.MustParsePrefix("::/128"), "unspecified"},
		{netip.MustParsePrefix("::1/128"), "loopback"},
		{netip.MustParsePrefix("::ffff:0:0/96"), "IPv4-mapped"}, // 127.0.0.1 in another spelling, among others
		{netip.MustParsePrefix("fe80::/10"), "link-local"},
		{netip.MustParsePrefix("ff00::/8"), "multicast"},
	}
}

// special is the range that p shares addresses with, if any.
func (p Prefix) special() (SpecialRange, bool) {
	for _, r := range SpecialRanges() {
		if r.Prefix.Overlaps(p.Prefix) {
			return r, true
		}
	}
	return SpecialRange{}, false
}
