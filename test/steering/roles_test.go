//go:build e2e

package steering

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/icmp"
	xipv4 "golang.org/x/net/ipv4"
	xipv6 "golang.org/x/net/ipv6"
	"golang.org/x/sys/unix"
)

const (
	// patience is how long an answer may take that must come: no case measures with it.
	patience = 15 * time.Second
	// moment is how long to wait for an answer that must not come. Everything is one cable away.
	moment = 700 * time.Millisecond
)

// silence is the answer of nobody: dropped.
const silence = "silence"

// dialAll prints the answer of each target, in order. The first argument is how long to wait for one.
func dialAll(args []string) {
	limit, err := time.ParseDuration(args[0])
	if err != nil {
		panic(err)
	}
	fmt.Println(strings.Join(askAll(net.Dialer{Timeout: limit}, args[1:]), "\n"))
}

// askAll asks all targets at once.
func askAll(d net.Dialer, targets []string) []string {
	answers := make([]string, len(targets))
	var wg sync.WaitGroup
	for i, t := range targets {
		wg.Go(func() { answers[i] = ask(d, t) })
	}
	wg.Wait()
	return answers
}

// ask sends a word to "tcp/ADDRESS:PORT" or "udp/..." and returns the answer, silence, or the error.
func ask(d net.Dialer, target string) string {
	network, address, _ := strings.Cut(target, "/")
	if d.Timeout == 0 {
		d.Timeout = patience
	}
	c, err := d.Dial(network, address)
	if err == nil {
		defer c.Close()
		var answer []byte
		if answer, err = exchange(c, d.Timeout); err == nil {
			return string(answer)
		}
	}
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return silence
	}
	for _, known := range []error{unix.ECONNREFUSED, unix.ECONNRESET} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return err.Error()
}

func exchange(c net.Conn, limit time.Duration) ([]byte, error) {
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return nil, err
	}
	if _, err := c.Write([]byte("who is there?")); err != nil {
		return nil, err
	}
	b := make([]byte, 512)
	n, err := c.Read(b)
	return b[:n], err
}

// ready is what a host prints when it listens.
const ready = "ready\n"

// host answers on port 7777, all addresses, with the address it was asked from, until its input ends.
func host() {
	tcp, udp := serve("7777", func(from string) string { return "host asked by " + from })
	defer tcp.Close()
	defer udp.Close()
	fmt.Print(ready)
	_, _ = io.Copy(io.Discard, os.Stdin) // its end is the sign to stop
}

// serve answers on a port of all addresses, TCP and UDP, IPv4 and IPv6. It panics when it cannot: tests only.
// SO_REUSEADDR: otherwise no reply socket could have this port of an edge address.
func serve(port string, answer func(from string) string) (net.Listener, net.PacketConn) {
	tcp, err := net.Listen("tcp", ":"+port)
	if err != nil {
		panic(err)
	}
	lc := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return set(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1) })
	}}
	udp, err := lc.ListenPacket(context.Background(), "udp", ":"+port)
	if err != nil {
		panic(err)
	}
	go accept(tcp, func(c net.Conn) string { return answer(plain(c.RemoteAddr())) })
	go func() {
		b := make([]byte, 512)
		for {
			_, from, err := udp.ReadFrom(b)
			if err != nil {
				return
			}
			_, _ = udp.WriteTo([]byte(answer(plain(from))), from) // a lost answer fails the test that waits for it
		}
	}()
	return tcp, udp
}

// plain is the IP address of a, without the IPv4-mapped form of dual-stack sockets.
func plain(a net.Addr) string {
	return netip.MustParseAddrPort(a.String()).Addr().Unmap().String()
}

// accept answers each connection until l is closed.
func accept(l net.Listener, answer func(net.Conn) string) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			_, _ = c.Read(make([]byte, 64)) // a reset fails the test that waits for the answer
			_, _ = c.Write([]byte(answer(c)))
		}()
	}
}

// pingAll prints "pong" or an error for each address.
func pingAll(addresses []string) {
	for _, a := range addresses {
		if err := ping(netip.MustParseAddr(a), patience); err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println("pong")
	}
}

func ping(a netip.Addr, limit time.Duration) error {
	network, any, protocol := "ip4:icmp", "0.0.0.0", 1
	var request, reply icmp.Type = xipv4.ICMPTypeEcho, xipv4.ICMPTypeEchoReply
	if a.Is6() {
		network, any, protocol = "ip6:ipv6-icmp", "::", 58
		request, reply = xipv6.ICMPTypeEchoRequest, xipv6.ICMPTypeEchoReply
	}
	c, err := icmp.ListenPacket(network, any)
	if err != nil {
		return err
	}
	defer c.Close()
	message := icmp.Message{Type: request, Body: &icmp.Echo{ID: os.Getpid() & 0xffff, Seq: 1}}
	b, err := message.Marshal(nil)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(b, &net.IPAddr{IP: a.AsSlice()}); err != nil {
		return err
	}
	if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	for {
		b := make([]byte, 512)
		n, from, err := c.ReadFrom(b)
		if err != nil {
			return err
		}
		m, err := icmp.ParseMessage(protocol, b[:n])
		if err == nil && m.Type == reply && from.String() == a.String() {
			return nil
		}
	}
}

// transparent is a socket option setter for net.Dialer and net.ListenConfig: the socket may have foreign addresses.
func transparent(_, address string, c syscall.RawConn) error {
	v6 := strings.HasPrefix(address, "[")
	return set(c, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if v6 {
			return errors.Join(unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1),
				unix.SetsockoptInt(fd, unix.SOL_IPV6, unix.IPV6_RECVORIGDSTADDR, 1))
		}
		return errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1),
			unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_RECVORIGDSTADDR, 1))
	})
}

// withMark is an option setter: packets of the socket carry mark.
func withMark(mark int) func(string, string, syscall.RawConn) error {
	return func(_, _ string, c syscall.RawConn) error {
		return set(c, func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, mark) })
	}
}

func set(c syscall.RawConn, f func(fd int) error) error {
	var failed error
	if err := c.Control(func(fd uintptr) { failed = f(int(fd)) }); err != nil {
		return err
	}
	return failed
}
