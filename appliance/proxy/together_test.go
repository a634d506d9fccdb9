package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// hold stops all workers until release, so that what comes meanwhile is one batch of each.
func (b *box) hold(t *testing.T) (release func()) {
	t.Helper()
	gate := make(chan struct{})
	var held sync.WaitGroup
	for _, w := range b.workers {
		held.Add(1)
		if !w.do(func() { held.Done(); <-gate }) {
			t.Fatal("a worker has ended")
		}
	}
	held.Wait()
	return func() { close(gate) }
}

// TestManyAtOnce: messages of all sizes that come in one batch, with ends and resets among them, go where they belong.
func TestManyAtOnce(t *testing.T) { withAndWithout(t, manyAtOnce) }

func manyAtOnce(t *testing.T, ready func(*box)) {
	b := start(t, serveTCP(t, echo), nil)
	ready(b)
	sizes := []int{1, 64, togetherRead - 1, togetherRead, togetherRead + 1, 3*togetherRead + 5, 64}
	var clients []*net.TCPConn
	for range 3 * ringSlots {
		c := dial(t, b.edge4)
		mustWrite(t, c, []byte("first"))
		mustRead(t, c, "first")
		clients = append(clients, c)
	}
	for round := range 4 {
		release := b.hold(t)
		for i, c := range clients {
			mustWrite(t, c, random(sizes[(i+round)%len(sizes)], byte(i+round)))
		}
		release()
		for i, c := range clients {
			want := random(sizes[(i+round)%len(sizes)], byte(i+round))
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, want) {
				t.Fatalf("round %d: client %d got other bytes than it sent: %v", round, i, err)
			}
		}
	}
	release := b.hold(t)
	for i, c := range clients {
		switch i % 3 {
		case 0:
			mustWrite(t, c, []byte("last"))
			_ = c.CloseWrite()
		case 1:
			mustWrite(t, c, []byte("last"))
			_ = c.SetLinger(0)
			_ = c.Close()
		default:
			mustWrite(t, c, []byte("more"))
		}
	}
	release()
	for i, c := range clients {
		switch i % 3 {
		case 0:
			if got, err := io.ReadAll(c); err != nil || string(got) != "last" {
				t.Errorf("client %d read %q, %v", i, got, err)
			}
		case 2:
			mustRead(t, c, "more")
		}
	}
	eventually(t, "their ends", func() bool {
		return b.count(plan.TCP, status.Normal) == ringSlots && b.count(plan.TCP, status.ClientReset) == ringSlots
	})
}

// TestManyThatStall: what origins do not take waits, and is given to them when they do.
func TestManyThatStall(t *testing.T) { withAndWithout(t, manyThatStall) }

func manyThatStall(t *testing.T, ready func(*box)) {
	const size, piece = 12 << 20, 2000
	read := make(chan struct{})
	got := make(chan []byte, 4)
	b := start(t, serveTCP(t, func(c *net.TCPConn) {
		<-read
		all, _ := io.ReadAll(c)
		got <- all
	}), nil)
	ready(b)
	want := random(size, 7)
	var running sync.WaitGroup
	for range cap(got) {
		c := dial(t, b.edge4)
		running.Go(func() {
			for rest := want; len(rest) > 0; {
				n, err := c.Write(rest[:min(piece, len(rest))])
				if err != nil {
					t.Error(err)
					return
				}
				rest = rest[n:]
			}
			_ = c.CloseWrite()
		})
	}
	time.Sleep(time.Second) // by then all buffers are full
	close(read)
	for range cap(got) {
		if all := <-got; !bytes.Equal(all, want) {
			t.Errorf("an origin got %d bytes, which are not the %d that were sent", len(all), len(want))
		}
	}
	running.Wait()
}

// TestResetOfBothInOneBatch: a session of which both sides are in a batch ends once, and the other sessions of the batch go on.
func TestResetOfBothInOneBatch(t *testing.T) { withAndWithout(t, resetOfBoth) }

func resetOfBoth(t *testing.T, ready func(*box)) {
	origins := make(chan *net.TCPConn, 2)
	done := make(chan struct{})
	defer close(done)
	b := start(t, serveTCP(t, func(c *net.TCPConn) { origins <- c; <-done }), nil)
	ready(b)
	client := dial(t, b.edge4)
	origin := <-origins
	other := dial(t, b.edge4)
	otherOrigin := <-origins
	release := b.hold(t)
	mustWrite(t, client, []byte("up"))
	mustWrite(t, origin, []byte("down"))
	mustWrite(t, other, []byte("up"))
	release()
	mustRead(t, origin, "up")
	mustRead(t, client, "down")
	mustRead(t, otherOrigin, "up")
	release = b.hold(t)
	mustWrite(t, client, []byte("up"))
	mustWrite(t, other, []byte("again"))
	_ = origin.SetLinger(0)
	_ = origin.Close()
	release()
	mustRead(t, otherOrigin, "again")
	if _, err := client.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the client saw %v of the origin's reset", err)
	}
	eventually(t, "one end", func() bool { return b.count(plan.TCP, status.OriginReset) == 1 && len(b.all()) == 1 })
}

// TestManyDatagramsAtOnce: datagrams of many flows in one batch each way arrive in their order, whole, and with their headers.
func TestManyDatagramsAtOnce(t *testing.T) { withAndWithout(t, manyDatagrams) }

func manyDatagrams(t *testing.T, ready func(*box)) {
	const clients, each = 40, 3 // more than a batch of every worker
	sizes := []int{0, 1, 64, 1200, 9000, 60000}
	payload := func(client, n int) []byte { return random(sizes[(client+n)%len(sizes)], byte(client*each+n)) }
	for _, mode := range []plan.UDPHeader{plan.UDPNone, plan.UDPV2Each, plan.UDPV2First, plan.UDPSPP} {
		t.Run(string(mode), func(t *testing.T) {
			type asked struct {
				from    netip.AddrPort
				payload []byte
				headed  bool
			}
			origin, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
			if err != nil {
				t.Fatal(err)
			}
			defer origin.Close()
			_ = origin.SetReadBuffer(8 << 20)
			_ = origin.SetDeadline(time.Now().Add(20 * time.Second))
			b := start(t, uint16(origin.LocalAddr().(*net.UDPAddr).Port), func(p *plan.Plan) { p.Services[0].UDPHeader = mode })
			ready(b)
			release := b.hold(t)
			var conns []*net.UDPConn
			for i := range clients {
				c := dialUDP(t, []netip.AddrPort{b.edge4, b.edge6}[i%2])
				_ = c.SetReadBuffer(1 << 20)
				conns = append(conns, c)
				for n := range each {
					mustWrite(t, c, payload(i, n))
				}
			}
			release()
			var list []asked
			for range clients * each {
				buffer := make([]byte, 65536)
				n, from, err := origin.ReadFromUDPAddrPort(buffer)
				if err != nil {
					t.Fatalf("after %d datagrams: %v", len(list), err)
				}
				a := asked{from, buffer[:n], false}
				if src, dst, rest, ok := header.ParseSPP(a.payload); mode == plan.UDPSPP && ok {
					h := header.SPP(src, dst)
					a.payload, a.headed = append(h[:], rest...), true
				} else if _, rest, err := header.ParseDatagram(a.payload); mode != plan.UDPSPP && err == nil {
					a.payload, a.headed = rest, true
				}
				list = append(list, a)
			}
			seen := map[netip.AddrPort]int{}
			release = b.hold(t)
			for _, a := range list {
				want := mode == plan.UDPV2Each || mode == plan.UDPSPP || mode == plan.UDPV2First && seen[a.from] == 0
				if seen[a.from]++; a.headed != want {
					t.Errorf("datagram %d of a flow: header %v, want %v", seen[a.from], a.headed, want)
				}
				if _, err := origin.WriteToUDPAddrPort(a.payload, a.from); err != nil {
					t.Fatal(err)
				}
				if len(a.payload)%2 == 0 && mode == plan.UDPNone { // some flows get more than others
					if _, err := origin.WriteToUDPAddrPort(a.payload, a.from); err != nil {
						t.Fatal(err)
					}
				}
			}
			release()
			buffer := make([]byte, 65536)
			for i, c := range conns {
				for n := range each {
					want := payload(i, n)
					times := 1
					if len(want)%2 == 0 && mode == plan.UDPNone {
						times = 2
					}
					for range times {
						got, err := c.Read(buffer)
						if err != nil || !bytes.Equal(buffer[:got], want) {
							t.Fatalf("answer %d to client %d has %d bytes, %v; want the %d that it sent", n, i, got, err, len(want))
						}
					}
				}
			}
		})
	}
}

// TestManyRefused: an origin that is away ends every flow of a batch once, and the next datagrams begin others.
func TestManyRefused(t *testing.T) { withAndWithout(t, manyRefused) }

func manyRefused(t *testing.T, ready func(*box)) {
	b := start(t, freePort(t), nil)
	ready(b)
	var conns []*net.UDPConn
	for range 8 {
		conns = append(conns, dialUDP(t, b.edge4))
	}
	for range 4 {
		release := b.hold(t)
		for _, c := range conns {
			for range 3 {
				mustWrite(t, c, []byte("anybody?"))
			}
		}
		release()
		eventually(t, "no flow is left", func() bool { return len(b.all()) == 0 })
	}
	if got := b.count(plan.UDP, status.OriginRefused); got < uint64(len(conns)) {
		t.Errorf("%d flows were refused, want one of each client at least", got)
	}
}

// TestHeaderAfterRefusal: a flow that an error ends in the middle of a batch is followed by another, which begins with a header, and
// every datagram is accounted for.
func TestHeaderAfterRefusal(t *testing.T) {
	listen := func(port int) *net.UDPConn {
		t.Helper()
		c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	origin := listen(0)
	port := origin.LocalAddr().(*net.UDPAddr).Port
	b := start(t, uint16(port), func(p *plan.Plan) { p.Services[0].UDPHeader = plan.UDPV2First })
	c := dialUDP(t, b.edge4)
	mustWrite(t, c, []byte("0"))
	buffer := make([]byte, 2000)
	if _, _, err := origin.ReadFromUDPAddrPort(buffer); err != nil {
		t.Fatal(err)
	}
	_ = origin.Close()
	release := b.hold(t)
	for _, text := range []string{"1", "2", "3"} { // the error of the first comes back while the others are in the batch
		mustWrite(t, c, []byte(text))
	}
	release()
	eventually(t, "the flow is refused", func() bool { return b.count(plan.UDP, status.OriginRefused) > 0 && len(b.all()) == 0 })
	var sent uint64
	for i := range b.stats["test"].shards {
		sent += b.stats["test"].shards[i].datagramsToOrigin.Load()
	}
	if sent < 3 { // of "0" to "3" the one that was told of the refusal is counted there
		t.Errorf("%d of four datagrams are accounted for besides the one that was refused", sent)
	}
	origin = listen(port)
	mustWrite(t, c, []byte("4"))
	n, _, err := origin.ReadFromUDPAddrPort(buffer)
	if err != nil {
		t.Fatal(err)
	}
	if _, payload, err := header.ParseDatagram(buffer[:n]); err != nil || string(payload) != "4" {
		t.Errorf("the first datagram to an origin that is back is %q, %v", buffer[:n], err)
	}
}
