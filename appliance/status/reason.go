package status

import "fmt"

// Reason is the fixed code why a session or flow ended, or why a connection, datagram or reply was dropped.
// Every drop and close is counted under exactly one. From BogusFlags on they are the shield's; Bogon is also that of
// sources which neither path begins anything for.
type Reason uint8

// The reasons. Their texts and numbers are part of the interface: events, metrics and status carry them.
const (
	Normal Reason = iota // both sides finished, or a flow was idle
	ClientReset
	OriginReset
	ClientTimeout
	OriginTimeout
	ClientUnreachable
	OriginUnreachable
	OriginError
	OriginRefused
	ConnectTimeout
	NetworkUnreachable
	Idle
	HalfCloseTimeout
	WriteStall
	Killed
	Shutdown
	NoService
	NoOrigin
	OriginFull
	NotResolved
	OriginForbidden
	NotAnUpstream
	Banned
	BadHeader
	HeaderTimeout
	SessionLimit
	ServiceLimit
	FlowLimit
	SourceLimit
	RateLimit
	Amplification
	Oversize
	NoSourcePort
	BadSPP
	Congested
	OutOfFiles
	Internal
	Fragment
	Malformed
	OutOfWindow
	HopLimit
	FirstByteTimeout
	AddressLimit
	NetworkLimit
	BogusFlags
	Bogon
	Reflection
	Denied
	Country
	Network
	PacketRule
	NoSession
	BadCookie
	AddressRate
	NetworkRate
	NewClients
	OtherProtocol
	ReasonCount // how many there are; not a reason
)

// reasons gives each reason its text and its number. Numbers are those of Spectrum's status codes where the
// meaning is the same (200 normal, 403 firewall, 444 to 448 and 49x broken sides, 52x failed connects, 53x resolving);
// numbers of our own are 6xx.
var reasons = [ReasonCount]struct {
	text string
	code int
}{
	Normal:             {"normal", 200},
	ClientReset:        {"client-reset", 499},
	OriginReset:        {"origin-reset", 444},
	ClientTimeout:      {"client-timeout", 497},
	OriginTimeout:      {"origin-timeout", 445},
	ClientUnreachable:  {"client-unreachable", 496},
	OriginUnreachable:  {"origin-unreachable", 446},
	OriginError:        {"origin-error", 447},
	OriginRefused:      {"origin-refused", 521},
	ConnectTimeout:     {"connect-timeout", 522},
	NetworkUnreachable: {"network-unreachable", 523},
	Idle:               {"idle", 600},
	HalfCloseTimeout:   {"half-close-timeout", 601},
	WriteStall:         {"write-stall", 602},
	Killed:             {"killed", 603},
	Shutdown:           {"shutdown", 604},
	NoService:          {"no-service", 610},
	NoOrigin:           {"no-origin", 520},
	OriginFull:         {"origin-full", 611},
	NotResolved:        {"not-resolved", 530},
	OriginForbidden:    {"origin-forbidden", 532},
	NotAnUpstream:      {"not-an-upstream", 403},
	Banned:             {"banned", 635},
	BadHeader:          {"bad-header", 620},
	HeaderTimeout:      {"header-timeout", 621},
	SessionLimit:       {"session-limit", 630},
	ServiceLimit:       {"service-limit", 631},
	FlowLimit:          {"flow-limit", 632},
	SourceLimit:        {"source-limit", 633},
	RateLimit:          {"rate-limit", 634},
	Amplification:      {"amplification", 640},
	Oversize:           {"oversize", 641},
	NoSourcePort:       {"no-source-port", 642},
	BadSPP:             {"bad-spp", 643},
	Congested:          {"congested", 644},
	OutOfFiles:         {"out-of-files", 650},
	Internal:           {"internal", 500},
	Fragment:           {"fragment", 645},
	Malformed:          {"malformed", 646},
	OutOfWindow:        {"out-of-window", 647},
	HopLimit:           {"hop-limit", 648},
	FirstByteTimeout:   {"first-byte-timeout", 622},
	AddressLimit:       {"address-limit", 636},
	NetworkLimit:       {"network-limit", 637},
	BogusFlags:         {"bogus-flags", 660},
	Bogon:              {"bogon", 661},
	Reflection:         {"reflection", 662},
	Denied:             {"denied", 663},
	Country:            {"country", 664},
	Network:            {"network", 665},
	PacketRule:         {"packet-rule", 666},
	NoSession:          {"no-session", 667},
	BadCookie:          {"bad-cookie", 668},
	AddressRate:        {"address-rate", 669},
	NetworkRate:        {"network-rate", 670},
	NewClients:         {"new-clients", 671},
	OtherProtocol:      {"other-protocol", 672},
}

// String is the fixed text of r.
func (r Reason) String() string {
	if r >= ReasonCount {
		return fmt.Sprintf("reason-%d", uint8(r))
	}
	return reasons[r].text
}

// Code is the fixed number of r.
func (r Reason) Code() int {
	if r >= ReasonCount {
		return 0
	}
	return reasons[r].code
}

// Drop tells whether r turned somebody or something away. It is false for what sides of a session did by themselves,
// and for the normal ends.
func (r Reason) Drop() bool {
	switch r {
	case Normal, ClientReset, OriginReset, ClientTimeout, OriginTimeout, ClientUnreachable, OriginUnreachable, OriginError,
		Idle, HalfCloseTimeout, WriteStall, Killed, Shutdown:
		return false
	}
	return r < ReasonCount
}

// MarshalText writes the fixed text.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads the fixed text.
func (r *Reason) UnmarshalText(text []byte) error {
	for i := range reasons {
		if reasons[i].text == string(text) {
			*r = Reason(i)
			return nil
		}
	}
	return fmt.Errorf("%q is not a reason", text)
}
