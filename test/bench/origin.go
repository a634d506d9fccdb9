package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// originPort is one port of the origin: which header a TCP connection to it must begin with. UDP is echoed there.
type originPort struct {
	Listen netip.AddrPort `json:"listen"`
	Header Header         `json:"header"`
}

// originCounts is what the origin saw since it started.
type originCounts struct {
	Connections int64  `json:"connections"`
	Headers     int64  `json:"headers"` // present, well formed and equal to the truth
	Errors      int64  `json:"errors"`
	First       string `json:"first"` // the first error
	Datagrams   int64  `json:"datagrams"`
}

// The kinds of descriptors in the origin's epoll.
const (
	kindClosed = iota
	kindListener
	kindUDP
	kindConn
	kindCommands
)

// originConn is one descriptor of the origin, found by its number.
type originConn struct {
	kind     uint8
	writing  bool // waits for EPOLLOUT
	proved   bool // the header was read, or none is due
	greeted  bool // the first frame was compared
	header   Header
	kept     int // bytes in keep
	source   netip.AddrPort
	dest     netip.AddrPort
	download int64               // bytes still to send
	upload   int64               // bytes still to come
	keep     [4 * frameSize]byte // more than a header and a frame
}

// origin answers frames on TCP and echoes datagrams, all on one thread.
type origin struct {
	poll    *poller
	conns   []originConn
	counts  originCounts
	scratch []byte
	payload int
}

// runOrigin is the origin process: `bench origin [{"listen":"0.0.0.0:7001","header":"v2"}]`. It ends with its standard input.
// Every line on standard input is answered with originCounts.
func runOrigin(args []string) error {
	runtime.LockOSThread()
	debug.SetGCPercent(-1)
	var ports []originPort
	if len(args) != 1 {
		return fmt.Errorf("origin takes one argument, got %d", len(args))
	}
	if err := json.Unmarshal([]byte(args[0]), &ports); err != nil {
		return fmt.Errorf("parse the origin's ports: %w", err)
	}
	o, err := newOrigin(ports)
	if err != nil {
		return err
	}
	return o.serve()
}

func newOrigin(ports []originPort) (*origin, error) {
	poll, err := newPoller()
	if err != nil {
		return nil, err
	}
	payload, err := payloadFile()
	if err != nil {
		return nil, err
	}
	o := &origin{poll: poll, conns: make([]originConn, 20000), scratch: make([]byte, 1<<16), payload: payload}
	o.conns[0].kind = kindCommands
	if errno := poll.add(0, unix.EPOLLIN, 0); errno != 0 {
		return nil, fmt.Errorf("watch standard input: %w", errno)
	}
	for _, p := range ports {
		if err := o.open(p, unix.SOCK_STREAM, kindListener); err != nil {
			return nil, err
		}
		if err := o.open(p, unix.SOCK_DGRAM, kindUDP); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *origin) open(p originPort, sockType int, kind uint8) error {
	fd, err := unix.Socket(unix.AF_INET, sockType|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open a socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		return fmt.Errorf("set SO_REUSEADDR: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(p.Listen.Port()), Addr: p.Listen.Addr().As4()}); err != nil {
		return fmt.Errorf("bind %s: %w", p.Listen, err)
	}
	if kind == kindListener {
		if err := unix.Listen(fd, 4096); err != nil {
			return fmt.Errorf("listen on %s: %w", p.Listen, err)
		}
	}
	o.conns[fd] = originConn{kind: kind, header: p.Header}
	if errno := o.poll.add(fd, unix.EPOLLIN, fd); errno != 0 {
		return fmt.Errorf("watch %s: %w", p.Listen, errno)
	}
	return nil
}

func (o *origin) serve() error {
	commands := bufio.NewReader(os.Stdin)
	for {
		events, err := o.poll.wait(-1)
		if err != nil {
			return err
		}
		for _, e := range events {
			fd := int(e.Fd)
			switch o.conns[fd].kind {
			case kindListener:
				o.accept(fd)
			case kindUDP:
				o.echoDatagrams(fd)
			case kindConn:
				o.step(fd, &o.conns[fd], e.Events)
			case kindCommands:
				if _, err := commands.ReadString('\n'); err != nil {
					return nil // the bench is gone
				}
				if err := json.NewEncoder(os.Stdout).Encode(o.counts); err != nil {
					return fmt.Errorf("report: %w", err)
				}
			}
		}
	}
}

func (o *origin) fail(format string, args ...any) {
	if o.counts.Errors == 0 {
		o.counts.First = fmt.Sprintf(format, args...)
	}
	o.counts.Errors++
}

func (o *origin) accept(listener int) {
	for range 16 {
		fd, errno := rawAccept(listener)
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 {
			o.fail("accept: %v", errno)
			return
		}
		rawNoDelay(fd)
		header := o.conns[listener].header
		o.conns[fd] = originConn{kind: kindConn, header: header, proved: header == HeaderNone}
		o.counts.Connections++
		if errno := o.poll.add(fd, unix.EPOLLIN, fd); errno != 0 {
			o.fail("watch a connection: %v", errno)
		}
	}
}

func (o *origin) close(fd int) {
	o.conns[fd].kind = kindClosed
	rawClose(fd)
}

// echoDatagrams answers what waits, at most 64 datagrams so that TCP is not starved.
func (o *origin) echoDatagrams(fd int) {
	var from unix.RawSockaddrInet4
	for range 64 {
		n, errno := rawRecvFrom(fd, o.scratch, &from)
		if errno == unix.EAGAIN {
			return
		}
		if errno != 0 { // ECONNREFUSED of an earlier reply: the client has closed its flow
			continue
		}
		o.counts.Datagrams++
		if _, errno := rawSendTo(fd, o.scratch[:n], &from); errno != 0 {
			o.fail("echo a datagram: %v", errno)
		}
	}
}
