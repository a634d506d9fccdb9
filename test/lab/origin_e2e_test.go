//go:build e2e

package lab

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
)

// serveVariable makes the test binary be the origin, since a process is in one namespace with all its goroutines.
const serveVariable = "BREAKWATER_LAB_ORIGIN"

func TestMain(m *testing.M) {
	if _, ok := os.LookupEnv(serveVariable); !ok {
		os.Exit(m.Run())
	}
	names := map[netip.Addr]string{}
	for _, o := range namedAddresses(nil) {
		names[o.addr] = o.name
	}
	if err := ServeOrigin(context.Background(), slog.Default(), outside, names); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// startOrigin builds the lab's network with nothing in it but the origin. The box, without edge, is the client.
func startOrigin(t *testing.T) *network {
	t.Helper()
	unlock, err := lock()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(unlock)
	t.Cleanup(func() {
		if err := removeAll(); err != nil {
			t.Error(err)
		}
	})
	if err := removeAll(); err != nil {
		t.Fatal(err)
	}
	doc, err := readDocument("")
	if err != nil {
		t.Fatal(err)
	}
	n, err := build(doc, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.close)
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), serveVariable+"=1")
	cmd.Stderr = os.Stderr
	ended := make(chan error, 1)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	go func() { ended <- within(n.origin, cmd.Run) }()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	waiting, enough := context.WithTimeout(ctx, 10*time.Second)
	defer enough()
	for _, p := range originAddresses {
		at := netip.AddrPortFrom(p.Addr(), 1)
		if err := until(waiting, "the origin", func() error { return seesAnswer(waiting, n.edge, at) }); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// dial connects from the box.
func dial(t *testing.T, n *network, protocol string, at netip.AddrPort) net.Conn {
	t.Helper()
	var conn net.Conn
	err := within(n.edge, func() (err error) {
		conn, err = net.DialTimeout(protocol, at.String(), 2*time.Second)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return conn
}

func TestOrigin(t *testing.T) {
	n := startOrigin(t)
	for i, p := range originAddresses {
		family := []string{"IPv4", "IPv6"}[i]
		t.Run(family, func(t *testing.T) {
			t.Run("tcp", func(t *testing.T) { testOriginTCP(t, n, p.Addr()) })
			t.Run("udp", func(t *testing.T) { testOriginUDP(t, n, p.Addr()) })
		})
	}
}

func testOriginTCP(t *testing.T, n *network, origin netip.Addr) {
	src, dst := netip.MustParseAddrPort("203.0.113.7:1234"), netip.MustParseAddrPort("198.18.1.10:25565")
	v1, _ := header.V1(src, dst)
	v2, _ := header.V2(plan.TCP, src, dst, header.TLVs{})
	for _, tt := range []struct {
		name, header string
		send         []byte
		port         uint16
	}{
		{"silence", "none", nil, 22},
		{"no header", "none", []byte("hello"), 80},
		{"looks like a header at first", "none", []byte("PROX"), 61000},
		{"v1", "v1", v1, 65535},
		{"v2", "v2", v2, 1},
		{"local", "v2", header.Local(), 443},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn := dial(t, n, "tcp", netip.AddrPortFrom(origin, tt.port))
			payload := []byte(strings.Repeat("payload", 20000))
			send := tt.send
			if tt.header != "none" {
				send = append(bytes.Clone(send), "hello"...)
			}
			if _, err := conn.Write(send); err != nil {
				t.Fatal(err)
			}
			in := bufio.NewReader(conn)
			line, err := in.ReadBytes('\n')
			if err != nil {
				t.Fatal(err)
			}
			var got Answer
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatal(err)
			}
			peer, local := addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
			want := Answer{originName, peer, tt.header, peer, local}
			if tt.header != "none" && tt.name != "local" {
				want.Source, want.Destination = src, dst
			}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			go func() {
				_, _ = conn.Write(payload)
				_ = conn.(*net.TCPConn).CloseWrite()
			}()
			echoed, err := io.ReadAll(in)
			wantEcho := string(payload)
			if len(tt.send) > 0 {
				wantEcho = "hello" + wantEcho
			}
			if tt.name == "looks like a header at first" {
				wantEcho = "PROX" + string(payload)
			}
			if err != nil || string(echoed) != wantEcho {
				t.Errorf("got %d bytes back (%v), want %d", len(echoed), err, len(wantEcho))
			}
		})
	}
}

func testOriginUDP(t *testing.T, n *network, origin netip.Addr) {
	src, dst := netip.MustParseAddrPort("203.0.113.7:1234"), netip.MustParseAddrPort("198.18.1.10:19132")
	v2, _ := header.V2(plan.UDP, src, dst, header.TLVs{})
	spp := header.SPP(src, dst)
	conn := dial(t, n, "udp", netip.AddrPortFrom(origin, 53))
	peer, local := addrPort(conn.LocalAddr()), addrPort(conn.RemoteAddr())
	for _, tt := range []struct {
		name, header string
		send         []byte
	}{
		{"plain", "none", nil},
		{"spp", "spp", spp[:]},
		{"v2", "v2", v2},
		{"later without", "v2", nil}, // v2-first: the flow is remembered
	} {
		t.Run(tt.name, func(t *testing.T) {
			payload := []byte(strings.Repeat("x", 3000)) // larger than a packet
			if _, err := conn.Write(append(bytes.Clone(tt.send), payload...)); err != nil {
				t.Fatal(err)
			}
			buf := make([]byte, 1<<16)
			size, err := conn.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			datagram := buf[:size]
			if tt.header == "spp" {
				if !bytes.HasPrefix(datagram, spp[:]) {
					t.Fatalf("got a reply without its SPP header: %q", datagram)
				}
				datagram = datagram[len(spp):]
			}
			line, echoed, _ := bytes.Cut(datagram, []byte("\n"))
			var got Answer
			if err := json.Unmarshal(line, &got); err != nil {
				t.Fatal(err)
			}
			want := Answer{originName, peer, tt.header, peer, local}
			if tt.header != "none" {
				want.Source, want.Destination = src, dst
			}
			if got != want || !bytes.Equal(echoed, payload) {
				t.Errorf("got %+v and %d bytes, want %+v and %d", got, len(echoed), want, len(payload))
			}
		})
	}
}

func TestOriginLosesNoDatagram(t *testing.T) {
	n := startOrigin(t)
	const peers, each = 8, 200
	lost := make(chan int, peers)
	for range peers {
		conn := dial(t, n, "udp", netip.AddrPortFrom(originAddresses[0].Addr(), 7777))
		go func() {
			missing, buf := each, make([]byte, 2048)
			for range each {
				if _, err := conn.Write([]byte("ping")); err != nil {
					break
				}
				if _, err := conn.Read(buf); err != nil {
					break
				}
				missing--
			}
			lost <- missing
		}()
	}
	for range peers {
		if got := <-lost; got != 0 {
			t.Errorf("got %d datagrams unanswered, want none", got)
		}
	}
}
