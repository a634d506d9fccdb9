package origin

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

var (
	tryClient = netip.MustParseAddrPort("192.0.2.1:40000")
	tryEdge   = netip.MustParseAddrPort("203.0.113.10:25565")
)

// listenTry runs handle for each connection to a port of 127.0.0.1.
func listenTry(t *testing.T, handle func(*net.TCPConn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			handle(c.(*net.TCPConn))
			_ = c.Close()
		}
	}()
	t.Cleanup(func() { _ = l.Close(); <-done })
	return l.Addr().String()
}

func sayWhatCame(c *net.TCPConn) {
	b := make([]byte, 256)
	n, _ := c.Read(b)
	_, _ = c.Write(append([]byte("got "), b[:n]...))
	_, _ = io.Copy(io.Discard, c)
}

func sayNothing(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }

func TestTryConnection(t *testing.T) {
	v1, _ := header.V1(tryClient, tryEdge)
	v2, _ := header.V2(plan.TCP, tryClient, tryEdge, header.TLVs{UniqueID: []byte("0000000000000000"), CRC32C: true})
	flood := func(c *net.TCPConn) { _, _ = c.Write(bytes.Repeat([]byte("x"), 10000)); sayNothing(c) }
	hangUp := func(*net.TCPConn) {}
	reset := func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 1)); _ = c.SetLinger(0) }
	for _, test := range []struct {
		name     string
		origin   func(*net.TCPConn)
		try      plan.Try
		received string
		ending   string
		problem  string // part of the error
		reason   status.Reason
	}{
		{"v1 and a question", sayWhatCame, plan.Try{Header: "v1", Send: []byte("hello")}, "got " + string(v1) + "hello", "answered, and still open", "", status.Normal},
		{"v2 with TLVs", sayWhatCame, plan.Try{Header: "v2", TLVs: plan.TLVs{UniqueID: true, CRC32C: true}}, "got " + string(v2), "answered, and still open", "", status.Normal},
		{"silent", sayNothing, plan.Try{Header: "none", Wait: 50}, "", "still open after 50ms", "", status.Normal},
		{"says too much", flood, plan.Try{}, strings.Repeat("x", maxReceived), "answered", "", status.Normal},
		{"hangs up", hangUp, plan.Try{}, "", "closed by the origin", "with a PROXY header only", status.Normal},
		{"resets", reset, plan.Try{Header: "v2"}, "", "reset by the origin", "this PROXY header", status.OriginReset},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.try.Network, test.try.Client, test.try.Edge = plan.TCP, tryClient, tryEdge
			first, err := tryHeader(test.try)
			if err != nil {
				t.Fatal(err)
			}
			trial := status.Trial{Address: listenTry(t, test.origin), HeaderSent: first}
			tryConnection(t.Context(), &trial, test.try)
			if !trial.Connected || trial.ConnectMS <= 0 || string(trial.Received) != test.received || trial.Ending != test.ending || trial.Reason != test.reason {
				t.Errorf("got %+v (%q)", trial, trial.Received)
			}
			if test.problem == "" && trial.Error != "" || !strings.Contains(trial.Error, test.problem) {
				t.Errorf("got the error %q, want %q", trial.Error, test.problem)
			}
		})
	}
}

// echoLongOnes is a UDP server on loopback that answers what is longer than an SPP header. The function ends it.
func echoLongOnes(t *testing.T) (at string, end func()) {
	t.Helper()
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		b := make([]byte, 2048)
		for {
			n, from, err := c.ReadFromUDP(b)
			if err != nil {
				return
			}
			if n > header.SPPSize {
				_, _ = c.WriteToUDP(b[:n], from)
			}
		}
	}()
	end = func() { _ = c.Close(); <-done }
	t.Cleanup(end)
	return c.LocalAddr().String(), end
}

func TestTryUDP(t *testing.T) {
	at, end := echoLongOnes(t)
	request := plan.Try{Network: plan.UDP, Header: "spp", Client: tryClient, Edge: tryEdge, Send: []byte("hello"), Wait: 3000}
	first, err := tryHeader(request)
	if err != nil {
		t.Fatal(err)
	}
	try := func() status.Trial {
		trial := status.Trial{Address: at, HeaderSent: first}
		tryConnection(t.Context(), &trial, request)
		return trial
	}
	if trial := try(); !trial.Connected || string(trial.Received) != string(first)+"hello" || trial.Error != "" || trial.Ending != "answered" {
		t.Errorf("got %+v", trial)
	}
	request.Send, request.Wait = nil, 50
	if trial := try(); trial.Connected || trial.Ending != "silent for 50ms" || trial.Error == "" {
		t.Errorf("without an answer: got %+v", trial)
	}
	end()
	if trial := try(); trial.Reason != status.OriginRefused || !strings.Contains(trial.Error, "nothing listens") {
		t.Errorf("without a server: got %+v", trial)
	}
}

func TestTryRefuses(t *testing.T) {
	own := []netip.Addr{netip.MustParseAddr("10.9.9.9"), netip.MustParseAddr("2001:db8:9::9")}
	good := plan.Try{Network: plan.TCP, Address: "10.0.0.20:1", Header: "v2", Client: tryClient, Edge: tryEdge}
	var z zone
	z.set(t, "inside.test. 60 IN A 127.0.0.1", "inside.test. 60 IN AAAA ::1", "own.test. 60 IN A 10.9.9.9",
		"cloud.test. 60 IN A 169.254.169.254", "admin.test. 60 IN A 10.5.0.1")
	var conditions health.Set
	s := New(slog.New(slog.DiscardHandler), &conditions)
	p := plan.Plan{Forbidden: []netip.Prefix{netip.MustParsePrefix("10.5.0.0/16")}, Resolvers: []netip.AddrPort{serve(t, &z)}}
	if err := s.Apply(&p, nil); err != nil {
		t.Fatal(err)
	}
	to := func(address string) func(*plan.Try) { return func(r *plan.Try) { r.Address = address } }
	for _, test := range []struct {
		name   string
		change func(*plan.Try)
		want   string
	}{
		{"no port", to("10.0.0.20"), "with a port"},
		{"port 0", to("10.0.0.20:0"), "with a port"},
		{"port 65536", to("10.0.0.20:65536"), "with a port"},
		{"no address", to(":80"), "with a port"},
		{"loopback", to("127.0.0.1:22"), "127.0.0.1"},
		{"loopback, mapped", to("[::ffff:127.0.0.1]:22"), "no address of another machine"},
		{"unspecified", to("0.0.0.0:22"), "0.0.0.0"},
		{"unspecified IPv6", to("[::]:22"), "::"},
		{"metadata of the cloud", to("169.254.169.254:80"), "no address of another machine"},
		{"link-local", to("[fe80::1%eth0]:80"), "no address of another machine"},
		{"own", to("10.9.9.9:80"), "this box's own"},
		{"own IPv6", to("[2001:db8:9::9]:80"), "this box's own"},
		{"management network", to("10.5.1.2:80"), "10.5.0.0/16"},
		{"broadcast", to("255.255.255.255:80"), "not the address of one machine"},
		{"a name of loopback", to("inside.test:80"), "leads to"},
		{"a name of the box", to("own.test:80"), "leads to 10.9.9.9"},
		{"a name of the cloud", to("cloud.test:80"), "leads to 169.254.169.254"},
		{"a name of management", to("admin.test:80"), "leads to 10.5.0.1"},
		{"no name", to(strings.Repeat("x", 300) + ":80"), "neither"},
		{"sctp", func(r *plan.Try) { r.Network = "sctp" }, "neither tcp nor udp"},
		{"v1 over UDP", func(r *plan.Try) { r.Network, r.Header = plan.UDP, "v1" }, "no header"},
		{"spp over TCP", func(r *plan.Try) { r.Header = "spp" }, "no header"},
		{"no client", func(r *plan.Try) { r.Client = netip.AddrPort{} }, "needs the client"},
		{"too much to send", func(r *plan.Try) { r.Send = make([]byte, plan.MaxTrySend+1) }, "1201 bytes"},
		{"too long", func(r *plan.Try) { r.Wait = 5001 }, "0 to 5000 ms"},
		{"negative", func(r *plan.Try) { r.Wait = -1 }, "0 to 5000 ms"},
	} {
		t.Run(test.name, func(t *testing.T) {
			request := good
			test.change(&request)
			if trial, err := s.Try(t.Context(), request, own); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %+v and %v, want %q", trial, err, test.want)
			}
		})
	}
}

// TestTryOfAName: the address is dialled that was looked at, and a name without one is a result.
func TestTryOfAName(t *testing.T) {
	var z zone
	z.set(t, "both.test. 60 IN A 127.0.0.1", "both.test. 60 IN A 192.0.2.20")
	r := newResolver([]netip.AddrPort{serve(t, &z)})
	if to, err := tryTarget(t.Context(), "both.test:25565", guard{}, r); err != nil || to.String() != "192.0.2.20:25565" {
		t.Errorf("got %s, %v, want the address that an origin may have", to, err)
	}
	var conditions health.Set
	s := New(slog.New(slog.DiscardHandler), &conditions)
	s.resolver = r
	trial, err := s.Try(t.Context(), plan.Try{Network: plan.TCP, Address: "missing.test:1"}, nil)
	if err != nil || trial.Reason != status.NotResolved || trial.Error == "" || trial.Address != "" {
		t.Errorf("got %+v, %v, want not-resolved", trial, err)
	}
}

func TestTriesAreBounded(t *testing.T) {
	var conditions health.Set
	s := New(slog.New(slog.DiscardHandler), &conditions)
	asked := make(chan struct{}, 2*triesAtOnce)
	s.resolver = &resolver{servers: []string{"192.0.2.53:53"}, exchange: blockingExchange(asked)}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, triesAtOnce)
	request := plan.Try{Network: plan.TCP, Address: "slow.test:1"}
	for range triesAtOnce {
		go func() { _, err := s.Try(ctx, request, nil); ended <- err }()
	}
	for range triesAtOnce {
		<-asked
	}
	if _, err := s.Try(ctx, request, nil); !errors.Is(err, ErrTriesBusy) {
		t.Errorf("one more: got %v, want ErrTriesBusy", err)
	}
	cancel()
	for range triesAtOnce {
		if err := <-ended; err != nil {
			t.Errorf("a trial without an answer: %v", err)
		}
	}
}

func TestDescribeHeader(t *testing.T) {
	const ends = "the client is 192.0.2.1:40000 and dialled 203.0.113.10:25565"
	for _, test := range []struct {
		name    string
		request plan.Try
		want    string
	}{
		{"v1", plan.Try{Network: plan.TCP, Header: "v1"}, "PROXY protocol version 1, 47 bytes: " + ends},
		{"v2", plan.Try{Network: plan.TCP, Header: "v2"}, "PROXY protocol version 2, 28 bytes: " + ends},
		{"v2-each", plan.Try{Network: plan.UDP, Header: "v2-each", TLVs: plan.TLVs{UniqueID: true}}, "PROXY protocol version 2, 47 bytes: " + ends + "; with the unique id 0000000000000000"},
		{"spp", plan.Try{Network: plan.UDP, Header: "spp"}, "Simple Proxy Protocol, 38 bytes: " + ends},
		{"none", plan.Try{Network: plan.TCP, Header: "none"}, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.request.Client, test.request.Edge = tryClient, tryEdge
			first, err := tryHeader(test.request)
			if err != nil {
				t.Fatal(err)
			}
			if got := describeHeader(test.request.Network, first); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestTryIsOverInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	trial := status.Trial{Address: listenTry(t, sayNothing)}
	began := time.Now()
	tryConnection(ctx, &trial, plan.Try{Network: plan.TCP, Wait: 5000})
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s, %+v", took, trial)
	}
}
