package proxy

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/health"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestMain gives each worker of the boxes a processor slot, as edge does, with some left for clients and origins.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(runtime.NumCPU() + 16)
	os.Exit(m.Run())
}

// box is an engine without TPROXY: clients dial its listeners, and those addresses are its edge addresses.
type box struct {
	*Engine
	pools *origin.Set
	plan  plan.Plan
	edge4 netip.AddrPort
	edge6 netip.AddrPort
}

// start runs an engine with one service whose only origin is at the given port of 127.0.0.1.
func start(t *testing.T, originPort uint16, change func(*plan.Plan)) *box {
	t.Helper()
	b := open(t, originPort, change)
	b.run(t)
	return b
}

// open is start without running: what comes waits for run.
func open(t *testing.T, originPort uint16, change func(*plan.Plan)) *box {
	t.Helper()
	var conditions health.Set
	b := &box{pools: origin.New(slog.New(slog.DiscardHandler), &conditions)}
	port := freePort(t)
	b.edge4 = netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)
	b.edge6 = netip.AddrPortFrom(netip.IPv6Loopback(), port)
	b.plan = testPlan(port, originPort)
	if change != nil {
		change(&b.plan)
	}
	if err := b.pools.Apply(&b.plan, b.plan.Pools[0].Sources); err != nil {
		t.Fatal(err)
	}
	engine, err := New(Options{Pools: b.pools, Port: port, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	if err := engine.Apply(&b.plan); err != nil {
		t.Fatal(err)
	}
	b.Engine = engine
	return b
}

func (b *box) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func testPlan(edgePort, originPort uint16) plan.Plan {
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	return plan.Plan{
		Routes: []plan.Route{
			{Protocol: plan.TCP, FirstPort: edgePort, LastPort: edgePort, Addresses: loopback},
			{Protocol: plan.UDP, FirstPort: edgePort, LastPort: edgePort, Addresses: loopback},
		},
		Services: []plan.Service{{
			Name: "test", TCPHeader: plan.TCPNone, UDPHeader: plan.UDPNone,
			Timeouts: plan.Timeouts{
				Connect: 2 * time.Second, Header: 2 * time.Second, Idle: time.Minute, HalfClose: time.Minute,
				WriteStall: time.Minute, FlowIdle: time.Minute,
			},
		}},
		Pools: []plan.Pool{{
			Name: "pool", Choice: plan.SourceHash, Health: plan.Health{Check: plan.CheckNone, Fall: 3},
			Origins: []plan.Origin{{Name: "one", Address: "127.0.0.1", FirstPort: originPort, LastPort: originPort, Weight: 1, State: plan.Active}},
		}},
		Limits: plan.Limits{MaxFlowsPerSource: 1000, NewFlowsPerSec: 100000},
	}
}

// freePort finds a port that is free for TCP and UDP.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

// serveTCP runs handle for each connection to a port of 127.0.0.1.
func serveTCP(t *testing.T, handle func(*net.TCPConn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer func() { _ = c.Close() }()
				handle(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func echo(c *net.TCPConn) {
	_, _ = io.Copy(c, c)
	_ = c.CloseWrite()
}

func dial(t *testing.T, to netip.AddrPort) *net.TCPConn {
	t.Helper()
	c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func mustWrite(t *testing.T, w io.Writer, data []byte) {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func mustRead(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Fatalf("read %q, %v; want %q", got, err, want)
	}
}

// eventually waits for something the workers do in their own time.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if done() {
			return
		}
	}
	t.Fatalf("never happened: %s", what)
}

func (b *box) count(protocol plan.Protocol, reason status.Reason) uint64 {
	var s status.Edge
	b.Status(&s)
	for _, c := range s.Reasons {
		if c.Protocol == protocol && c.Reason == reason {
			return c.Count
		}
	}
	return 0
}

func (b *box) all() (list []status.Session) {
	b.Sessions(func(s *status.Session) { list = append(list, *s) })
	return list
}

func TestEchoBothFamilies(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
		c := dial(t, edge)
		mustWrite(t, c, []byte("hello"))
		mustRead(t, c, "hello")
		_ = c.CloseWrite()
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("after both ended: %q, %v", rest, err)
		}
	}
	eventually(t, "two normal ends", func() bool { return b.count(plan.TCP, status.Normal) == 2 && len(b.all()) == 0 })
}

func TestServerSpeaksFirst(t *testing.T) {
	b := start(t, serveTCP(t, func(c *net.TCPConn) { _, _ = c.Write([]byte("welcome")); echo(c) }), func(p *plan.Plan) {
		p.Services[0].TCPHeader = plan.TCPNone
	})
	c := dial(t, b.edge4)
	mustRead(t, c, "welcome")
	mustWrite(t, c, []byte("x"))
	mustRead(t, c, "x")
}

// TestBulkBothWays moves enough for splicing in both directions at once and compares checksums.
func TestBulkBothWays(t *testing.T) {
	const size = 32 << 20
	up := make(chan [32]byte, 1)
	down := random(size, 2)
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		var running sync.WaitGroup
		running.Go(func() { _, _ = c.Write(down); _ = c.CloseWrite() })
		h := sha256.New()
		_, _ = io.Copy(h, c)
		up <- [32]byte(h.Sum(nil))
		running.Wait()
	}), nil)
	c := dial(t, b.edge4)
	sent := random(size, 1)
	var running sync.WaitGroup
	running.Go(func() { _, _ = c.Write(sent); _ = c.CloseWrite() })
	h := sha256.New()
	if _, err := io.Copy(h, c); err != nil {
		t.Fatal(err)
	}
	running.Wait()
	if got, want := [32]byte(h.Sum(nil)), sha256.Sum256(down); got != want {
		t.Error("the client got other bytes than the origin sent")
	}
	if got, want := <-up, sha256.Sum256(sent); got != want {
		t.Error("the origin got other bytes than the client sent")
	}
	eventually(t, "a normal end", func() bool { return b.count(plan.TCP, status.Normal) == 1 })
}

func random(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

func TestHalfCloseKeepsTheOtherDirection(t *testing.T) {
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		request, _ := io.ReadAll(c) // until the client's FIN
		time.Sleep(100 * time.Millisecond)
		_, _ = c.Write([]byte("got " + string(request)))
	}), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("all of it"))
	_ = c.CloseWrite()
	reply, err := io.ReadAll(c)
	if err != nil || string(reply) != "got all of it" {
		t.Errorf("reply %q, %v", reply, err)
	}
}

func TestDataAndFINAtOnce(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	var running sync.WaitGroup
	for range 300 {
		running.Go(func() {
			c, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(b.edge4))
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = c.Close() }()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			_, _ = c.Write([]byte("now"))
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c); err != nil || string(got) != "now" {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
	running.Wait()
	eventually(t, "300 normal ends", func() bool { return b.count(plan.TCP, status.Normal) == 300 })
}

func TestResetReachesTheOtherSide(t *testing.T) {
	origins := make(chan *net.TCPConn, 1)
	release := make(chan struct{})
	defer close(release)
	b := start(t, serveTCP(t, func(c *net.TCPConn) { origins <- c; <-release }), nil)

	client := dial(t, b.edge4)
	o := <-origins
	mustWrite(t, client, []byte("x"))
	mustRead(t, o, "x")
	_ = client.SetLinger(0)
	_ = client.Close()
	if _, err := o.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin saw %v of the client's reset", err)
	}

	client = dial(t, b.edge4)
	o = <-origins
	_ = o.SetLinger(0)
	_ = o.Close()
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v of the origin's reset", err)
	}
	eventually(t, "both are counted", func() bool {
		return b.count(plan.TCP, status.ClientReset) == 1 && b.count(plan.TCP, status.OriginReset) == 1
	})
}

// TestAnOriginThatHangsUp is one that ends a session soon, before its client does, and has said nothing.
func TestAnOriginThatHangsUp(t *testing.T) {
	hungUp := func(b *box) uint64 { return b.pools.Status()[0].Origins[0].HungUp }
	for _, test := range []struct {
		name   string
		origin func(*net.TCPConn)
		client func(*net.TCPConn)
		want   uint64
	}{
		{"it closes", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 100)) }, func(*net.TCPConn) {}, 1},
		{"it resets", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 100)); _ = c.SetLinger(0) }, func(*net.TCPConn) {}, 1},
		{"it says why", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 100)); _, _ = c.Write([]byte("no")) }, func(*net.TCPConn) {}, 0},
		{"the client leaves first", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, func(c *net.TCPConn) { _ = c.CloseWrite() }, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, serveTCP(t, test.origin), nil)
			client := dial(t, b.edge4)
			mustWrite(t, client, []byte("hello"))
			test.client(client)
			_, _ = io.Copy(io.Discard, client)
			_ = client.Close()
			eventually(t, "the session ends", func() bool { return len(b.all()) == 0 })
			if got := hungUp(b); got != test.want {
				t.Errorf("it hung up %d times, want %d", got, test.want)
			}
		})
	}
}

// TestStalledClientPushesBack sends to a client that does not read: the origin must be stopped by back-pressure, not
// by our memory, and everything arrive once the client reads.
func TestStalledClientPushesBack(t *testing.T) {
	const size = 64 << 20
	data := random(size, 3)
	var sent sync.WaitGroup
	sent.Add(1)
	var before time.Time
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		defer sent.Done()
		_, _ = c.Write(data)
		before = time.Now()
	}), nil)
	c := dial(t, b.edge4)
	_ = c.SetReadBuffer(64 << 10)
	time.Sleep(300 * time.Millisecond)
	reading := time.Now()
	h := sha256.New()
	if n, err := io.Copy(h, c); err != nil || n != size {
		t.Fatalf("read %d bytes, %v", n, err)
	}
	sent.Wait()
	if before.Before(reading) {
		t.Error("the origin got rid of everything before the client read a byte")
	}
	if [32]byte(h.Sum(nil)) != sha256.Sum256(data) {
		t.Error("the client got other bytes than the origin sent")
	}
}

func TestHeaders(t *testing.T) {
	for _, test := range []struct {
		name   string
		mode   plan.TCPHeader
		speaks bool
	}{
		{"v1 and data", plan.TCPV1, true}, {"v2 and data", plan.TCPV2, true},
		{"v1 to a server that speaks first", plan.TCPV1, false}, {"v2 to a server that speaks first", plan.TCPV2, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			heads := make(chan header.Header, 1)
			b := start(t, serveTCP(t, func(c *net.TCPConn) {
				h, rest := readHeader(t, c)
				heads <- h
				_, _ = c.Write([]byte("hi"))
				_, _ = c.Write(rest)
				echo(c)
			}), func(p *plan.Plan) {
				p.Services[0].TCPHeader = test.mode
				p.Services[0].TLVs = plan.TLVs{UniqueID: true, CRC32C: true}
			})
			for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
				c := dial(t, edge)
				if test.speaks {
					mustWrite(t, c, []byte("first"))
				}
				mustRead(t, c, "hi")
				if test.speaks {
					mustRead(t, c, "first")
				}
				got := <-heads
				if want := c.LocalAddr().(*net.TCPAddr).AddrPort(); got.Source != want || got.Destination != edge {
					t.Errorf("header says %v to %v, want %v to %v", got.Source, got.Destination, want, edge)
				}
				if test.mode == plan.TCPV2 && string(got.UniqueID) != b.all()[0].ID.String() {
					t.Errorf("unique id %q, session %v", got.UniqueID, b.all()[0].ID)
				}
				_ = c.Close()
				eventually(t, "the session ends", func() bool { return len(b.all()) == 0 })
			}
		})
	}
}

// readHeader reads a PROXY header and what came with it.
func readHeader(t *testing.T, c net.Conn) (header.Header, []byte) {
	buffer := make([]byte, 4096)
	for n := 0; ; {
		m, err := c.Read(buffer[n:])
		if n += m; err != nil {
			t.Errorf("no header in %q: %v", buffer[:n], err)
			return header.Header{}, nil
		}
		h, size, err := header.Parse(buffer[:n])
		if err != nil {
			t.Errorf("bad header %q: %v", buffer[:n], err)
		}
		if size > 0 {
			return h, buffer[size:n]
		}
	}
}

func TestOriginDownClosesCleanly(t *testing.T) {
	b := start(t, freePort(t), nil)
	events, end := b.Events()
	defer end()
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("anyone?"))
	if got, err := io.ReadAll(c); err != nil || len(got) > 0 {
		t.Errorf("the client read %q, %v; want a clean end", got, err)
	}
	if e := <-events; e.Type != status.Connect || e.Client != c.LocalAddr().(*net.TCPAddr).AddrPort() {
		t.Errorf("first event %+v", e)
	}
	if e := <-events; e.Type != status.Disconnect || e.Code != 521 || *e.Reason != status.OriginRefused {
		t.Errorf("second event %+v", e)
	}
}

// TestRecordsNameThePath looks at a session, a flow and a refused client, in the list and in the events of each.
func TestRecordsNameThePath(t *testing.T) {
	for _, test := range []struct {
		name   string
		origin func(*testing.T) uint16
		client func(*testing.T, netip.AddrPort)
		listed int
	}{
		{"session", func(t *testing.T) uint16 { return serveTCP(t, echo) }, func(t *testing.T, edge netip.AddrPort) {
			c := dial(t, edge)
			mustWrite(t, c, []byte("x"))
			mustRead(t, c, "x")
		}, 1},
		{"flow", func(t *testing.T) uint16 { return serveUDP(t, echoDatagram) }, func(t *testing.T, edge netip.AddrPort) {
			mustAnswer(t, dialUDP(t, edge), []byte("x"), []byte("x"))
		}, 1},
		{"refused", func(*testing.T) uint16 { return 0 }, func(t *testing.T, edge netip.AddrPort) {
			_, _ = io.ReadAll(dial(t, edge))
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, test.origin(t), nil)
			if test.listed == 0 {
				if err := b.Apply(&plan.Plan{}); err != nil {
					t.Fatal(err)
				}
			}
			events, end := b.Events()
			defer end()
			test.client(t, b.edge4)
			list := b.all()
			if len(list) != test.listed {
				t.Fatalf("listed are %+v, want %d", list, test.listed)
			}
			for _, s := range list {
				if s.Path != plan.PathUser {
					t.Errorf("listed with the path %q, want user", s.Path)
				}
				b.Kill(s.ID)
			}
			for range 2 {
				if e := <-events; e.Path != plan.PathUser {
					t.Errorf("the event %s has the path %q, want user", e.Type, e.Path)
				}
			}
		})
	}
}

func TestAnotherOriginIsTried(t *testing.T) {
	alive := serveTCP(t, echo)
	b := start(t, freePort(t), func(p *plan.Plan) {
		p.Pools[0].Choice = plan.RoundRobin
		p.Pools[0].Origins = append(p.Pools[0].Origins, plan.Origin{
			Name: "two", Address: "127.0.0.1", FirstPort: alive, LastPort: alive, Weight: 1, State: plan.Active,
		})
	})
	for range 8 {
		c := dial(t, b.edge4)
		mustWrite(t, c, []byte("x"))
		mustRead(t, c, "x")
	}
}

func TestUpstreamHeaderIsRequired(t *testing.T) {
	v1, err := header.V1(netip.MustParseAddrPort("203.0.113.7:1234"), netip.MustParseAddrPort("198.51.100.1:25565"))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name   string
		listed bool
		send   []string
		want   string // what the origin says it got
		reason status.Reason
	}{
		{"whole, with data", true, []string{string(v1) + "hello"}, "203.0.113.7:1234 hello", status.Normal},
		{"in pieces", true, append(strings.Split(string(v1), ""), "hello"), "203.0.113.7:1234 hello", status.Normal},
		{"no header", true, []string{"GET / HTTP/1.0\r\n\r\n"}, "", status.BadHeader},
		{"cut off", true, []string{string(v1[:20])}, "", status.BadHeader},
		{"from a peer that is not listed", false, []string{string(v1) + "hello"}, "", status.NotAnUpstream},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := start(t, serveTCP(t, func(c *net.TCPConn) {
				h, body := readHeader(t, c)
				rest, _ := io.ReadAll(c)
				_, _ = c.Write([]byte(h.Source.String() + " " + string(body) + string(rest)))
			}), func(p *plan.Plan) {
				p.Services[0].TCPHeader = plan.TCPV2
				p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
				if test.listed {
					p.Services[0].Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
				}
			})
			c := dial(t, b.edge4)
			for i, piece := range test.send {
				if i > 0 && i < 5 {
					time.Sleep(5 * time.Millisecond) // so that at least some arrive alone
				}
				_, _ = c.Write([]byte(piece))
			}
			_ = c.CloseWrite()
			got, _ := io.ReadAll(c)
			if string(got) != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			eventually(t, "it is counted", func() bool { return b.count(plan.TCP, test.reason) == 1 })
		})
	}
}

func TestTimeouts(t *testing.T) {
	quiet := func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c); time.Sleep(3 * time.Second) }
	for _, test := range []struct {
		name   string
		handle func(*net.TCPConn)
		change func(*plan.Service)
		client func(*net.TCPConn)
		reason status.Reason
	}{
		{"idle", quiet, func(s *plan.Service) { s.Timeouts.Idle = time.Second }, func(*net.TCPConn) {}, status.Idle},
		{"half-closed", quiet, func(s *plan.Service) { s.Timeouts.HalfClose = time.Second }, func(c *net.TCPConn) { _ = c.CloseWrite() }, status.HalfCloseTimeout},
		{"write stall", func(c *net.TCPConn) { _, _ = c.Write(make([]byte, 64<<20)) }, func(s *plan.Service) { s.Timeouts.WriteStall = time.Second }, func(*net.TCPConn) {}, status.WriteStall},
		{"silent", quiet, func(s *plan.Service) { s.Timeouts.FirstByte = time.Second }, func(*net.TCPConn) {}, status.FirstByteTimeout},
		{"silent and closed", quiet, func(s *plan.Service) { s.Timeouts.FirstByte = time.Second }, func(c *net.TCPConn) { _ = c.CloseWrite() }, status.FirstByteTimeout},
		{"idle after a byte", quiet, func(s *plan.Service) { s.Timeouts.FirstByte, s.Timeouts.Idle = time.Second, 2*time.Second }, func(c *net.TCPConn) { _, _ = c.Write([]byte("x")) }, status.Idle},
		{"header that comes byte by byte", quiet, func(s *plan.Service) {
			s.Timeouts.Header = time.Second
			s.Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}, func(c *net.TCPConn) {
			for _, b := range []byte("PROXY TCP4 192.0.2.1 192.0.2.2 ") { // it could go on for half a minute
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		}, status.HeaderTimeout},
		{"no header", quiet, func(s *plan.Service) {
			s.Timeouts.Header = time.Second
			s.Upstreams = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}, func(*net.TCPConn) {}, status.HeaderTimeout},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := start(t, serveTCP(t, test.handle), func(p *plan.Plan) { test.change(&p.Services[0]) })
			test.client(dial(t, b.edge4))
			eventually(t, "the time-out", func() bool { return b.count(plan.TCP, test.reason) == 1 })
			if left := b.all(); len(left) > 0 {
				t.Errorf("%d sessions are left", len(left))
			}
		})
	}
}

func TestKillResetsBothSides(t *testing.T) {
	ends := make(chan error, 1)
	b := start(t, serveTCP(t, func(c *net.TCPConn) { _, err := io.Copy(io.Discard, c); ends <- err }), nil)
	c := dial(t, b.edge4)
	eventually(t, "the session is open", func() bool { l := b.all(); return len(l) == 1 && l[0].State == "open" })
	if id := b.all()[0].ID; !b.Kill(id) || b.Kill(id) {
		t.Error("a session can be killed exactly once")
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v", err)
	}
	if err := <-ends; !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the origin saw %v", err)
	}
}

func TestApplyKeepsSessions(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("before"))
	mustRead(t, c, "before")
	var none plan.Plan
	if err := b.Apply(&none); err != nil {
		t.Fatal(err)
	}
	mustWrite(t, c, []byte("after"))
	mustRead(t, c, "after")
	refused := dial(t, b.edge4)
	if got, err := io.ReadAll(refused); err != nil || len(got) > 0 {
		t.Errorf("without a service the client read %q, %v", got, err)
	}
	if n := b.count(plan.TCP, status.NoService); n != 1 {
		t.Errorf("%d counted as no-service, want 1", n)
	}
}

func TestServiceLimit(t *testing.T) {
	b := start(t, serveTCP(t, echo), func(p *plan.Plan) { p.Services[0].Limits.MaxSessions = 2 })
	kept := []*net.TCPConn{dial(t, b.edge4), dial(t, b.edge4)}
	for _, c := range kept {
		mustWrite(t, c, []byte("x"))
		mustRead(t, c, "x")
	}
	if got, err := io.ReadAll(dial(t, b.edge4)); err != nil || len(got) > 0 {
		t.Errorf("the third client read %q, %v", got, err)
	}
	_ = kept[0].Close()
	eventually(t, "there is room again", func() bool { return len(b.all()) == 1 })
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("y"))
	mustRead(t, c, "y")
	if n := b.count(plan.TCP, status.ServiceLimit); n != 1 {
		t.Errorf("%d counted as service-limit, want 1", n)
	}
}

// TestStopTheWorldWhileIdle: workers sleep in a raw system call and keep their processor slots; a collection must be
// able to stop them all the same, see epollWait.
func TestStopTheWorldWhileIdle(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("x"))
	mustRead(t, c, "x")
	done := make(chan struct{})
	go func() {
		for range 20 {
			runtime.GC()
		}
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("a garbage collection waits for a sleeping worker")
	}
	mustWrite(t, c, []byte("y"))
	mustRead(t, c, "y")
}

// TestIdleWorkersAreAtRest: a worker that kept its processor slot would be interrupted by the run time a hundred times a
// second, each time with several switches of threads; see epollRest.
func TestIdleWorkersAreAtRest(t *testing.T) {
	b := start(t, serveTCP(t, echo), nil)
	c := dial(t, b.edge4)
	mustWrite(t, c, []byte("x"))
	mustRead(t, c, "x")
	eventually(t, "nothing but the sweep wakes the process", func() bool {
		before := switches(t)
		time.Sleep(time.Second)
		n := switches(t) - before
		t.Logf("%d switches in a second", n)
		return n < 150
	})
}

// switches is how often threads of this process went to sleep so far.
func switches(t *testing.T) int64 {
	t.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	return usage.Nvcsw
}
