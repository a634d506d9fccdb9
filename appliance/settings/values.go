package settings

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Duration is a time.Duration written as text, such as "90s" or "2h".
type Duration time.Duration

// String is the shortest form time.ParseDuration reads back: "2h", not "2h0m0s".
func (d Duration) String() string {
	text := time.Duration(d).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// MarshalText writes the form of String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what time.ParseDuration reads.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	if err != nil {
		return fmt.Errorf("%s is not a duration; write it like \"30s\", \"5m\" or \"2h\"", quote(string(text)))
	}
	*d = Duration(v)
	return nil
}

// Ports is an inclusive range of ports, written "443" or "1000-2000". The zero value is no port.
type Ports struct{ First, Last uint16 }

// Count is the number of ports in the range.
func (p Ports) Count() int {
	if p == (Ports{}) {
		return 0
	}
	return int(p.Last) - int(p.First) + 1
}

// String writes "443" or "1000-2000", and nothing for the zero value.
func (p Ports) String() string {
	switch {
	case p == (Ports{}):
		return ""
	case p.First == p.Last:
		return strconv.Itoa(int(p.First))
	}
	return fmt.Sprintf("%d-%d", p.First, p.Last)
}

// MarshalText writes the form of String.
func (p Ports) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads "443" or "1000-2000". Ports are 1 to 65535 and in order.
func (p *Ports) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	a, errA := strconv.ParseUint(first, 10, 16)
	b, errB := strconv.ParseUint(last, 10, 16)
	if errors.Is(errA, strconv.ErrSyntax) || errors.Is(errB, strconv.ErrSyntax) {
		return fmt.Errorf("%s is not a port or port range; write it like \"443\" or \"1000-2000\"", quote(string(text)))
	}
	if errA != nil || errB != nil || a == 0 || b == 0 {
		return fmt.Errorf("%s goes beyond the ports there are, 1 to 65535", quote(string(text)))
	}
	if a > b {
		return fmt.Errorf("%s ends before it begins; write it as \"%d-%d\"", quote(string(text)), b, a)
	}
	*p = Ports{uint16(a), uint16(b)}
	return nil
}

// Prefix is a network or, with the full length, one address. It is written with its length, and read also without:
// "203.0.113.10" is 203.0.113.10/32.
type Prefix struct{ netip.Prefix }

// MarshalText always writes the length.
func (p Prefix) MarshalText() ([]byte, error) { return p.Prefix.MarshalText() }

// UnmarshalText reads an address or a network in CIDR form (RFC 4632 section 3.1, RFC 4291 section 2.3).
func (p *Prefix) UnmarshalText(text []byte) error {
	v, err := netip.ParsePrefix(string(text))
	if addr, addrErr := netip.ParseAddr(string(text)); addrErr == nil {
		v, err = netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), nil
		if addr.Zone() != "" {
			return fmt.Errorf("%s has a zone, which has no meaning here; write it as %q", quote(string(text)), addr.WithZone(""))
		}
	}
	if err != nil {
		return fmt.Errorf("%s is not an address or network; write it like \"203.0.113.10\" or \"2001:db8::/64\"", quote(string(text)))
	}
	if wrong := (Prefix{v}).wrong(); wrong != "" {
		return errors.New(wrong)
	}
	*p = Prefix{v}
	return nil
}

// wrong says why p cannot stand in a document, or nothing when it can.
func (p Prefix) wrong() string {
	switch {
	case !p.IsValid():
		return "is not an address or network; write it like \"203.0.113.10\" or \"2001:db8::/64\""
	case p.Addr().Is4In6():
		// Such an address never arrives: the kernel hands IPv4 packets to us as IPv4.
		return fmt.Sprintf("%q is an IPv4 address in IPv6 notation; write it as %q", p, p.Addr().Unmap())
	case p.Masked() != p.Prefix:
		return fmt.Sprintf("%q is an address inside a network; write %q for the one address or %q for the network",
			p, netip.PrefixFrom(p.Addr(), p.Addr().BitLen()), p.Masked())
	}
	return ""
}

// within tells whether all of p is inside one of the networks.
func (p Prefix) within(networks []Prefix) bool {
	for _, n := range networks {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return true
		}
	}
	return false
}

// Server is a DNS server, an IP address with an optional port (53 when left out).
type Server netip.AddrPort

// MarshalText leaves out port 53.
func (s Server) MarshalText() ([]byte, error) {
	ap := netip.AddrPort(s)
	if ap.Port() == 53 {
		return []byte(ap.Addr().String()), nil
	}
	return []byte(ap.String()), nil
}

// UnmarshalText reads an address with or without a port.
func (s *Server) UnmarshalText(text []byte) error {
	ap, err := netip.ParseAddrPort(string(text))
	if addr, addrErr := netip.ParseAddr(string(text)); addrErr == nil {
		ap, err = netip.AddrPortFrom(addr, 53), nil
	}
	if err != nil || ap.Port() == 0 || ap.Addr().Zone() != "" {
		return fmt.Errorf("%s is not the address of a DNS server; write it like \"192.0.2.53\" or \"192.0.2.53:5353\"", quote(string(text)))
	}
	*s = Server(ap)
	return nil
}

// Address is an address of the box with the length of its network, such as 192.0.2.10/24.
type Address struct{ netip.Prefix }

// MarshalText always writes the length.
func (a Address) MarshalText() ([]byte, error) { return a.Prefix.MarshalText() }

// UnmarshalText reads the CIDR form. The length is never guessed.
func (a *Address) UnmarshalText(text []byte) error {
	v, err := netip.ParsePrefix(string(text))
	if err != nil {
		return fmt.Errorf("%s is not an address with the length of its network; write it like \"192.0.2.10/24\" or \"2001:db8::10/64\"", quote(string(text)))
	}
	*a = Address{v}
	return nil
}

// Addr is one IP address.
type Addr struct{ netip.Addr }

// MarshalText writes the address.
func (a Addr) MarshalText() ([]byte, error) { return a.Addr.MarshalText() }

// UnmarshalText reads an address without a zone.
func (a *Addr) UnmarshalText(text []byte) error {
	v, err := netip.ParseAddr(string(text))
	if err != nil || v.Zone() != "" {
		return fmt.Errorf("%s is not an IP address; write it like \"192.0.2.1\" or \"2001:db8::1\"", quote(string(text)))
	}
	*a = Addr{v}
	return nil
}

// MAC is the address of a network port (IEEE 802, 48 bits), written 52:54:00:12:34:56. The zero value is none.
type MAC [6]byte

// MarshalText writes nothing for the zero value.
func (m MAC) MarshalText() ([]byte, error) {
	if m == (MAC{}) {
		return nil, nil
	}
	return []byte(net.HardwareAddr(m[:]).String()), nil
}

// UnmarshalText reads six pairs of hexadecimal digits, with colons or hyphens.
func (m *MAC) UnmarshalText(text []byte) error {
	v, err := net.ParseMAC(string(text))
	if err != nil || len(v) != len(m) || v[0]&1 != 0 || MAC(v) == (MAC{}) {
		return fmt.Errorf("%s is not the address of a network port; write it like \"52:54:00:12:34:56\"", quote(string(text)))
	}
	*m = MAC(v)
	return nil
}
