package proxy

import (
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// listener is a transparent socket of one worker. TPROXY hands it every port of the edge addresses, so there are
// four a worker, whatever the number of services: TCP and UDP, IPv4 and IPv6. SO_REUSEPORT spreads clients over
// the workers by the hash of their addresses.
type listener struct {
	fd       int
	protocol plan.Protocol
	v6       bool
	spare    int  // a descriptor to give up when there are none left
	paused   bool // accepting rests until the next sweep
}

const (
	// backlog is capped by net.core.somaxconn.
	backlog = 65535
	// acceptBatch bounds one turn, so that a flood of connects leaves time for those who are here.
	acceptBatch = 64
	// datagramBuffer is the receive buffer of a UDP listener: 4 MiB take a burst of some 5,000 small datagrams.
	datagramBuffer = 4 << 20
)

// listen opens the sockets of one worker on port, on the loopback addresses that TPROXY names.
func (w *worker) listen(port uint16, transparent bool) error {
	for _, addr := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
		for _, protocol := range []plan.Protocol{plan.TCP, plan.UDP} {
			at := netip.AddrPortFrom(addr, port)
			fd, err := openListener(protocol, at, transparent)
			if err != nil {
				return fmt.Errorf("listen on %s %s: %w", protocol, at, err)
			}
			l := listener{fd: fd, protocol: protocol, v6: addr.Is6(), spare: spareFile()}
			w.listeners = append(w.listeners, l)
			if err := w.watchListener(len(w.listeners) - 1); err != nil {
				return err
			}
		}
	}
	return nil
}

// Listeners are the descriptors of the TCP listeners, one a worker, for whoever gives them connections that it has answered
// itself (SYN cookies).
func (e *Engine) Listeners() (v4, v6 []int) {
	for _, w := range e.workers {
		for _, l := range w.listeners {
			switch {
			case l.protocol != plan.TCP:
			case l.v6:
				v6 = append(v6, l.fd)
			default:
				v4 = append(v4, l.fd)
			}
		}
	}
	return v4, v6
}

func (w *worker) watchListener(index int) error {
	t := token{kind: kindListener, index: uint32(index)} //nolint:gosec // four listeners
	if w.listeners[index].protocol == plan.UDP {
		t.kind = kindDatagrams
	}
	if errno := epollAdd(w.epoll, int32(w.listeners[index].fd), unix.EPOLLIN, t); errno != 0 { //nolint:gosec // fd
		return fmt.Errorf("watch listener: %w", errno)
	}
	return nil
}

func openListener(protocol plan.Protocol, at netip.AddrPort, transparent bool) (int, error) {
	kind := unix.SOCK_STREAM
	if protocol == plan.UDP {
		kind = unix.SOCK_DGRAM
	}
	fd, errno := socket(family(at.Addr()), kind)
	if errno != 0 {
		return -1, fmt.Errorf("create socket: %w", errno)
	}
	if err := prepareListener(fd, protocol, at, transparent); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func prepareListener(fd int, protocol plan.Protocol, at netip.AddrPort, transparent bool) error {
	v6 := at.Addr().Is6()
	options := []option{{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1}, {unix.SOL_SOCKET, unix.SO_REUSEPORT, 1}}
	if v6 {
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1})
	}
	if transparent {
		options = append(options, transparentOption(v6))
	}
	if protocol == plan.TCP {
		// Accepted sockets inherit these, which saves four calls a session.
		options = append(options, sessionOptions...)
	} else {
		options = append(options, option{unix.SOL_SOCKET, unix.SO_RCVBUF, datagramBuffer}, originalDestination(v6))
	}
	for _, o := range options {
		if errno := setOption(fd, o.level, o.name, o.value); errno != 0 {
			return fmt.Errorf("set option %d/%d: %w", o.level, o.name, errno)
		}
	}
	if protocol == plan.UDP {
		// Beyond net.core.rmem_max; only with CAP_NET_ADMIN, so its failure is no error.
		_ = setOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, datagramBuffer)
	}
	if errno := bind(fd, at); errno != 0 {
		return fmt.Errorf("bind: %w", errno)
	}
	if protocol == plan.TCP {
		if err := unix.Listen(fd, backlog); err != nil {
			return fmt.Errorf("listen: %w", err)
		}
		// listen(2) resets it, so it is set behind.
		_ = setOption(fd, delayedACK.level, delayedACK.name, delayedACK.value)
	}
	return nil
}

type option struct{ level, name, value int }

// sessionOptions are those of both sides of a session. Keepalive asks after 60 s of silence; TCP_USER_TIMEOUT ends a
// session whose peer has not answered for 60 s, be it to bytes (RFC 5482) or to the first of these probes, so that
// their number and interval need not be set.
var sessionOptions = []option{
	{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
	{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 60},
	{unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60_000},
}

// delayedACK lets the answer carry the acknowledgement of the first bytes, instead of a packet of its own (tcp(7),
// TCP_QUICKACK; the kernel acknowledges at once only in the first exchanges of a connection). Set before connect, the
// last packet of the handshake also waits for the first bytes.
var delayedACK = option{unix.IPPROTO_TCP, unix.TCP_QUICKACK, 0}

// transparentOption lets a socket have an address that is not the box's (ip(7), IP_TRANSPARENT).
func transparentOption(v6 bool) option {
	if v6 {
		return option{unix.IPPROTO_IPV6, unix.IPV6_TRANSPARENT, 1}
	}
	return option{unix.IPPROTO_IP, unix.IP_TRANSPARENT, 1}
}

func originalDestination(v6 bool) option {
	if v6 {
		return option{unix.IPPROTO_IPV6, unix.IPV6_RECVORIGDSTADDR, 1}
	}
	return option{unix.IPPROTO_IP, unix.IP_RECVORIGDSTADDR, 1}
}

// accept takes a batch of new clients. The listener is level-triggered: what is left comes with the next turn.
func (w *worker) accept(l *listener) {
	for range acceptBatch {
		fd, client, errno := accept(l.fd)
		switch errno {
		case 0:
			w.open(int32(fd), client) //nolint:gosec // fd
		case unix.EAGAIN, unix.EBADF: // EBADF: closed by an earlier event of the batch
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.ENOBUFS:
			w.outOfFiles(l)
			return
		default: // the client is gone already (ECONNABORTED), or a passing network error: accept(2)
		}
	}
}

// outOfFiles refuses one waiting client with the spare descriptor, so that it need not wait for a time-out, and
// rests until the next sweep: with none to spare, a level-triggered listener would otherwise spin.
func (w *worker) outOfFiles(l *listener) {
	w.reasons.tcp[status.OutOfFiles].Add(1)
	_ = unix.Close(l.spare)
	if fd, _, errno := accept(l.fd); errno == 0 {
		closeFD(int32(fd)) //nolint:gosec // fd
	}
	l.spare = spareFile()
	l.paused = unix.EpollCtl(w.epoll, unix.EPOLL_CTL_DEL, l.fd, nil) == nil
}

func (w *worker) listenersPaused() bool {
	return slices.ContainsFunc(w.listeners, func(l listener) bool { return l.paused })
}

func (w *worker) resumeListeners() {
	for i := range w.listeners {
		if l := &w.listeners[i]; l.paused {
			l.paused = w.watchListener(i) != nil
		}
	}
}

func spareFile() int {
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1
	}
	return fd
}

// stopListening closes the listeners; what waits in their queues is refused by the kernel. Their places stay, as later
// events of the same batch may still name them.
func (w *worker) stopListening(protocols ...plan.Protocol) {
	for i := range w.listeners {
		if l := &w.listeners[i]; l.fd >= 0 && slices.Contains(protocols, l.protocol) {
			_ = unix.Close(l.fd)
			_ = unix.Close(l.spare)
			*l = listener{fd: -1, protocol: l.protocol, spare: -1}
		}
	}
}
