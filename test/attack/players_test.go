//go:build e2e

package attack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"breakwater/test/torture/pattern"
)

// hello begins every datagram of a player.
const hello = "hello "

// What players do. New ones come all the time, and each has an address that others had before.
const (
	connectEvery  = 14 * time.Millisecond
	exchangeEvery = 25 * time.Millisecond
	pageEvery     = 100 * time.Millisecond
	letterSize    = 4096
	connectLimit  = 3 * time.Second // for a connection with its echo
	answerLimit   = 500 * time.Millisecond
	tries         = 3 // of a datagram, as games do

	steady = 20 // sessions that are there all the time, and as many flows
	beat   = 200 * time.Millisecond
	stuck  = 20 * time.Second // no answer for that long ends a session
)

// players are those of the lab, and what they noticed.
type players struct {
	playing sync.WaitGroup
	stop    chan struct{}

	sessions, flows atomic.Int64 // that began
	watched         *notes       // swapped by begin
	mu              sync.Mutex   // of watched
}

// notes are what players noticed in some time.
type notes struct {
	mu                   sync.Mutex
	connects             []time.Duration // that worked
	refused              []error         // those that did not
	exchanges            int
	unanswered           []error
	messages, datagrams  int     // of those that are there all the time
	lost                 []error // sessions
	silent               int     // datagrams of steady flows without an answer
	pages                []time.Duration
	pageless             []error
	started, ended       time.Time
	longest, longestFlow time.Duration // until an answer to a steady player
	still                time.Duration // the longest time in which the machine let no player run
}

// startPlayers begins to play and returns when all steady sessions and flows do.
func startPlayers(t *testing.T) *players {
	t.Helper()
	p := &players{stop: make(chan struct{}), watched: new(notes)}
	for i := range steady {
		f := families[i%len(families)]
		p.playing.Go(func() { p.session(f, i) })
		p.playing.Go(func() { p.flow(f, i) })
	}
	eventually(t, func() error {
		if s, f := p.sessions.Load(), p.flows.Load(); s < steady || f < steady {
			return fmt.Errorf("%d sessions and %d flows of %d have begun: %w", s, f, steady, errors.Join(p.notes().lost...))
		}
		return nil
	})
	p.playing.Go(p.watchMachine)
	p.every(connectEvery, func(i int) { p.connect(families[i%2], i/2) })
	p.every(exchangeEvery, func(i int) { p.exchange(families[i%2], i/2) })
	p.every(pageEvery, func(int) { p.page() })
	t.Cleanup(func() {
		close(p.stop)
		p.playing.Wait()
	})
	return p
}

// watchMachine notes for how long a player had to wait for a processor.
func (p *players) watchMachine() {
	const nap = 5 * time.Millisecond
	for !p.ended() {
		begin := time.Now()
		p.wait(nap)
		late := time.Since(begin) - nap
		p.note(func(n *notes) { n.still = max(n.still, late) })
	}
}

// every does something again and again, each time in a goroutine of its own: who is slow holds up nobody.
func (p *players) every(pause time.Duration, do func(i int)) {
	p.playing.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-p.stop:
				return
			case <-tick.C:
				p.playing.Go(func() { do(i) })
			}
		}
	})
}

// watch begins new notes. What began before and ends later is noted in them too.
func (p *players) watch() *notes {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watched.ended = time.Now()
	p.watched = &notes{started: time.Now()}
	return p.watched
}

func (p *players) notes() *notes {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.watched
}

func (p *players) note(write func(n *notes)) {
	n := p.notes()
	n.mu.Lock()
	defer n.mu.Unlock()
	write(n)
}

// connect is a new player: a connection, a letter and its echo.
func (p *players) connect(f family, i int) {
	took, err := tryLetter(f.player(i), netip.AddrPortFrom(f.edge, tcpPort), uint64(i))
	p.note(func(n *notes) {
		if err != nil {
			n.refused = append(n.refused, fmt.Errorf("%s: %w", f.player(i), err))
			return
		}
		n.connects = append(n.connects, took)
	})
}

// tryLetter connects, which is what it measures, and has a letter echoed.
func tryLetter(from netip.Addr, to netip.AddrPort, seed uint64) (took time.Duration, err error) {
	begin := time.Now()
	c, err := dial(from, to, connectLimit)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	took = time.Since(begin)
	if err := c.SetDeadline(begin.Add(connectLimit)); err != nil {
		return took, err
	}
	letter := make([]byte, letterSize)
	pattern.Fill(letter, seed, 0)
	if _, err := c.Write(letter); err != nil {
		return took, err
	}
	if _, err := io.ReadFull(c, letter); err != nil {
		return took, fmt.Errorf("the echo: %w", err)
	}
	return took, pattern.Check(letter, seed, 0, make([]byte, letterSize))
}

func dial(from netip.Addr, to netip.AddrPort, limit time.Duration) (net.Conn, error) {
	d := net.Dialer{Timeout: limit, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	d.SetMultipathTCP(false)
	return d.Dial("tcp", to.String())
}

// exchange is a new player of a game over UDP: a datagram, sent again when no answer comes.
func (p *players) exchange(f family, i int) {
	err := tryDatagram(f.player(i), netip.AddrPortFrom(f.edge, udpPort), uint32(i))
	p.note(func(n *notes) {
		n.exchanges++
		if err != nil {
			n.unanswered = append(n.unanswered, fmt.Errorf("%s: %w", f.player(i), err))
		}
	})
}

func tryDatagram(from netip.Addr, to netip.AddrPort, number uint32) error {
	c, err := dialUDP(from, to)
	if err != nil {
		return err
	}
	defer c.Close()
	for range tries {
		if err = answered(c, number, answerLimit); err == nil {
			return nil
		}
	}
	return err
}

func dialUDP(from netip.Addr, to netip.AddrPort) (*net.UDPConn, error) {
	return net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(from, 0)), net.UDPAddrFromAddrPort(to))
}

// answered sends a datagram and waits for its echo. It waits in pieces, so that a machine that stands still costs one of them: the
// echo may have come meanwhile, or be about to.
func answered(c *net.UDPConn, number uint32, limit time.Duration) (err error) {
	const pieces = 5
	message := binary.BigEndian.AppendUint32([]byte(hello), number)
	if _, err := c.Write(message); err != nil {
		return err
	}
	for range pieces {
		if err := c.SetReadDeadline(time.Now().Add(limit / pieces)); err != nil {
			return err
		}
		if err = echoed(c, message); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return err
}

// echoed waits for an echo, past those of others.
func echoed(c *net.UDPConn, message []byte) error {
	for buf := make([]byte, 64); ; {
		n, err := c.Read(buf)
		if err != nil || string(buf[:n]) == string(message) {
			return err
		}
	}
}

// session plays over TCP until the end. It is not to be lost; who loses one comes back after a while.
func (p *players) session(f family, i int) {
	for !p.ended() {
		longest, err := p.converse(f, i)
		p.note(func(n *notes) {
			n.longest = max(n.longest, longest)
			if err != nil {
				n.lost = append(n.lost, fmt.Errorf("session %d of %s: %w", i, f.player(i), err))
			}
		})
		p.wait(5 * beat)
	}
}

func (p *players) converse(f family, i int) (longest time.Duration, err error) {
	c, err := dial(f.player(i), netip.AddrPortFrom(f.edge, tcpPort), connectLimit)
	if err != nil {
		return 0, err
	}
	defer c.Close()
	const size = 256
	message, want := make([]byte, size), make([]byte, size)
	for at := int64(0); !p.ended(); at += size {
		pattern.Fill(message, uint64(i), at)
		begin := time.Now()
		if err := c.SetDeadline(begin.Add(stuck)); err != nil {
			return longest, err
		}
		if _, err := c.Write(message); err != nil {
			return longest, fmt.Errorf("after %d bytes: %w", at, err)
		}
		if _, err := io.ReadFull(c, message); err != nil {
			return longest, fmt.Errorf("after %d bytes: %w", at, err)
		}
		if err := pattern.Check(message, uint64(i), at, want); err != nil {
			return longest, err
		}
		p.note(func(n *notes) {
			n.messages++
			n.longest = max(n.longest, time.Since(begin))
		})
		if at == 0 {
			p.sessions.Add(1)
		}
		p.wait(beat)
	}
	return longest, nil
}

// flow plays over UDP until the end. A datagram without an answer is counted, and the next is sent.
func (p *players) flow(f family, i int) {
	c, err := dialUDP(f.player(i), netip.AddrPortFrom(f.edge, udpPort))
	if err != nil {
		p.note(func(n *notes) { n.lost = append(n.lost, err) })
		return
	}
	defer c.Close()
	for number, began := uint32(0), false; !p.ended(); number++ {
		begin := time.Now()
		err := answered(c, number, answerLimit)
		p.note(func(n *notes) {
			n.datagrams++
			n.longestFlow = max(n.longestFlow, time.Since(begin))
			if err != nil {
				n.silent++
			}
		})
		if err == nil && !began {
			began = true
			p.flows.Add(1)
		}
		p.wait(beat)
	}
}

// page looks at the box's status, as an operator's browser does.
func (p *players) page() {
	begin := time.Now()
	err := get("/api/v1/status", new(any))
	p.note(func(n *notes) {
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			n.pageless = append(n.pageless, err)
			return
		}
		n.pages = append(n.pages, time.Since(begin))
	})
}

func (p *players) ended() bool {
	select {
	case <-p.stop:
		return true
	default:
		return false
	}
}

// wait sleeps until the end, at most that long.
func (p *players) wait(long time.Duration) {
	select {
	case <-p.stop:
	case <-time.After(long):
	}
}
