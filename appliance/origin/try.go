package origin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const (
	triesAtOnce = 4
	// maxReceived is how much of an answer is shown, in bytes.
	maxReceived = 512
	// afterAnswer is how long more bytes are waited for behind the first.
	afterAnswer = 100 * time.Millisecond
)

// ErrTriesBusy means that as many trials run as may.
var ErrTriesBusy = errors.New("four connections are being tried already; try again in a few seconds")

// Try makes one connection from the box with the bytes that a session would begin with, and tells what came of it. own
// are the box's addresses. An error is a request that is not carried out, in a sentence: it cannot be understood, or it
// leads where no origin may be. Of a name the first address is taken that an origin may have.
func (s *Set) Try(ctx context.Context, t plan.Try, own []netip.Addr) (status.Trial, error) {
	select {
	case s.tries <- struct{}{}:
		defer func() { <-s.tries }()
	default:
		return status.Trial{}, ErrTriesBusy
	}
	first, err := tryHeader(t)
	if err != nil {
		return status.Trial{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, plan.MaxTryTime)
	defer cancel()
	s.mu.Lock()
	g, r := guard{s.guard.forbidden, own}, s.resolver
	s.mu.Unlock()
	to, err := tryTarget(ctx, t.Address, g, r)
	if found, ok := errors.AsType[*unresolved](err); ok {
		return status.Trial{Error: capital(found.err), Reason: status.NotResolved}, nil
	}
	if err != nil {
		return status.Trial{}, err
	}
	trial := status.Trial{Address: to.String(), HeaderSent: first, HeaderText: describeHeader(t.Network, first)}
	tryConnection(ctx, &trial, t)
	return trial, nil
}

// unresolved is a name without an address: a result of the trial, not a fault of the request.
type unresolved struct{ err error }

func (e *unresolved) Error() string { return e.err.Error() }

// tryTarget finds the one address to connect to. The name is looked up once and the address is dialled, so that a name
// cannot lead elsewhere in between.
func tryTarget(ctx context.Context, text string, g guard, r *resolver) (netip.AddrPort, error) {
	host, portText, err := net.SplitHostPort(text)
	port, portErr := strconv.ParseUint(portText, 10, 16)
	if err != nil || portErr != nil || port == 0 || host == "" {
		return netip.AddrPort{}, fmt.Errorf("%q is not an address with a port; write it like \"10.0.0.20:25565\" or \"[2001:db8::20]:25565\"", text)
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if why := g.refuseTry(a); why != "" {
			return netip.AddrPort{}, fmt.Errorf("the address %s is %s", a, why)
		}
		return netip.AddrPortFrom(a.Unmap(), uint16(port)), nil
	}
	if err := checkName(plan.Origin{Address: host, Record: plan.RecordAny}); err != nil {
		return netip.AddrPort{}, fmt.Errorf("%q is neither an IP address nor a DNS name", host)
	}
	found, err := r.lookup(ctx, host, plan.RecordAny)
	if err != nil {
		return netip.AddrPort{}, &unresolved{err}
	}
	var refused error
	for _, p := range found.places {
		why := g.refuseTry(p.address)
		if why == "" {
			return netip.AddrPortFrom(p.address, uint16(port)), nil
		}
		refused = fmt.Errorf("the name %s leads to %s, which is %s", host, p.address, why)
	}
	return netip.AddrPort{}, refused
}

// refuseTry is refuse for a box that may have no plan yet: what leads to the box itself, or to the metadata service of
// its cloud, is refused whatever the plan says.
func (g guard) refuseTry(a netip.Addr) string {
	a = a.Unmap()
	if a.Zone() != "" || a.IsLoopback() || a.IsLinkLocalUnicast() || a.Is4() && a.As4()[0] == 0 {
		return "no address of another machine on a network"
	}
	return g.refuse(a)
}

// tryHeader is the PROXY header of a trial, byte for byte what a session with this client would begin with.
func tryHeader(t plan.Try) ([]byte, error) {
	tlvs := header.TLVs{CRC32C: t.TLVs.CRC32C}
	if t.TLVs.UniqueID {
		tlvs.UniqueID = []byte(status.ID(0).String())
	}
	switch {
	case t.Network != plan.TCP && t.Network != plan.UDP:
		return nil, fmt.Errorf("the network %q is neither tcp nor udp", t.Network)
	case len(t.Send) > plan.MaxTrySend:
		return nil, fmt.Errorf("there are %d bytes to send, at most %d are possible", len(t.Send), plan.MaxTrySend)
	case t.Wait < 0 || time.Duration(t.Wait)*time.Millisecond > plan.MaxTryTime:
		return nil, fmt.Errorf("a trial can wait 0 to %d ms for an answer, not %d", plan.MaxTryTime.Milliseconds(), t.Wait)
	case t.Header == "" || t.Header == "none":
		return nil, nil
	case !t.Client.IsValid() || !t.Edge.IsValid():
		return nil, errors.New("a PROXY header needs the client's address and the edge address, each with a port")
	case t.Network == plan.TCP && t.Header == string(plan.TCPV1):
		return header.V1(t.Client, t.Edge)
	case t.Network == plan.TCP && t.Header == string(plan.TCPV2):
		return header.V2(plan.TCP, t.Client, t.Edge, tlvs)
	case t.Network == plan.UDP && (t.Header == string(plan.UDPV2Each) || t.Header == string(plan.UDPV2First)):
		return header.V2(plan.UDP, t.Client, t.Edge, tlvs)
	case t.Network == plan.UDP && t.Header == string(plan.UDPSPP):
		spp := header.SPP(t.Client, t.Edge)
		return spp[:], nil
	}
	return nil, fmt.Errorf("there is no header %q for %s", t.Header, t.Network)
}

func tryWait(t plan.Try) time.Duration {
	if t.Wait == 0 {
		return plan.DefaultTryWait
	}
	return time.Duration(t.Wait) * time.Millisecond
}

// tryConnection dials, says what a session would begin with, and listens. The first answer is enough: what comes
// behind it within a moment is taken as well.
func tryConnection(ctx context.Context, trial *status.Trial, t plan.Try) {
	dialer := net.Dialer{KeepAlive: -1}
	dialer.SetMultipathTCP(false)
	began := time.Now()
	conn, err := dialer.DialContext(ctx, string(t.Network), trial.Address)
	if err != nil {
		fail(trial, err)
		return
	}
	defer func() { _ = conn.Close() }() // whatever is left unsaid, the trial is over
	if t.Network == plan.TCP {
		trial.Connected, trial.ConnectMS = true, milliseconds(time.Since(began))
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })
	defer stop()
	if first := append(slices.Clip(trial.HeaderSent), t.Send...); len(first) > 0 || t.Network == plan.UDP {
		if _, err := conn.Write(first); err != nil {
			fail(trial, err)
			return
		}
	}
	hear(ctx, conn, trial, t, began)
}

// hear takes what the origin says until it is silent for long enough, or has said enough.
func hear(ctx context.Context, conn net.Conn, trial *status.Trial, t plan.Try, began time.Time) {
	answer := make([]byte, maxReceived)
	wait := tryWait(t)
	for {
		until := time.Now().Add(wait)
		if end, ok := ctx.Deadline(); ok && end.Before(until) {
			until = end
		}
		if err := conn.SetReadDeadline(until); err != nil {
			fail(trial, err)
			return
		}
		n, err := conn.Read(answer[len(trial.Received):])
		if err == nil && t.Network == plan.UDP && !trial.Connected {
			trial.Connected, trial.ConnectMS = true, milliseconds(time.Since(began))
		}
		trial.Received = answer[:len(trial.Received)+n]
		if err != nil || len(trial.Received) == maxReceived || t.Network == plan.UDP {
			conclude(trial, t, err)
			return
		}
		wait = min(wait, afterAnswer)
	}
}

// conclude words how the origin left it.
func conclude(trial *status.Trial, t plan.Try, err error) {
	silent := len(trial.Received) == 0 && !(t.Network == plan.UDP && trial.Connected)
	switch {
	case err == nil:
		trial.Ending = "answered"
	case errors.Is(err, os.ErrDeadlineExceeded) && t.Network == plan.UDP:
		trial.Ending = fmt.Sprintf("silent for %s", tryWait(t))
		trial.Error = "No answer came. Most UDP servers answer only what they understand, so this proves nothing by itself."
	case errors.Is(err, os.ErrDeadlineExceeded) && silent:
		trial.Ending = fmt.Sprintf("still open after %s", tryWait(t))
	case errors.Is(err, os.ErrDeadlineExceeded):
		trial.Ending = "answered, and still open"
	case errors.Is(err, io.EOF):
		trial.Ending = "closed by the origin"
		if silent {
			trial.Error = "The origin closed the connection without an answer. " + hint(trial)
		}
	case errors.Is(err, syscall.ECONNRESET):
		trial.Ending, trial.Reason = "reset by the origin", status.OriginReset
		trial.Error = "The origin reset the connection. " + hint(trial)
	default:
		fail(trial, err)
	}
}

// hint is the most frequent cause of an origin that hangs up at once.
func hint(trial *status.Trial) string {
	if len(trial.HeaderSent) > 0 {
		return "It may not be set up to take this PROXY header."
	}
	return "It may be set up to take connections with a PROXY header only."
}

// fail notes a connection that did not come about.
func fail(trial *status.Trial, err error) {
	var errno syscall.Errno
	timeout := errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
	switch {
	case errors.As(err, &errno) && errno == syscall.ECONNREFUSED:
		trial.Reason, trial.Error = status.OriginRefused, "The origin refused: nothing listens on "+trial.Address+"."
	case timeout || errno == syscall.ETIMEDOUT:
		trial.Reason, trial.Error = status.ConnectTimeout, "The origin did not answer in time. It is off, or something on the way drops what is for it."
	case errno == syscall.ENETUNREACH || errno == syscall.EHOSTUNREACH:
		trial.Reason, trial.Error = status.NetworkUnreachable, "There is no way to "+trial.Address+" from this box."
	default:
		trial.Reason, trial.Error = status.OriginError, capital(err)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// capital is an error as a sentence.
func capital(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// describeHeader says in words what the bytes of a PROXY header mean. It reads them back, as an origin does.
func describeHeader(network plan.Protocol, first []byte) string {
	if len(first) == 0 {
		return ""
	}
	if client, edge, _, ok := header.ParseSPP(first); ok {
		return fmt.Sprintf("Simple Proxy Protocol, %d bytes: the client is %s and dialled %s", len(first), client, edge)
	}
	var h header.Header
	var err error
	if network == plan.UDP {
		h, _, err = header.ParseDatagram(first)
	} else {
		h, _, err = header.Parse(first)
	}
	if err != nil {
		return "This header cannot be read: " + err.Error()
	}
	text := fmt.Sprintf("PROXY protocol version %d, %d bytes: the client is %s and dialled %s", h.Version, len(first), h.Source, h.Destination)
	if len(h.UniqueID) > 0 {
		text += fmt.Sprintf("; with the unique id %s", h.UniqueID)
	}
	return text
}
