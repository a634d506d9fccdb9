package proxy

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

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
	if err := b.pools.Apply(&b.plan, b.plan.Pools[0].SourceAddresses); err != nil {
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
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
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
