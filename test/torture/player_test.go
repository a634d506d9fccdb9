//go:build e2e

package torture

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"breakwater/test/torture/pattern"
)

const messageSize = 64

// session plays over TCP until the traffic stops, and opens another session when one is lost.
func (c *survivors) session(at netip.AddrPort, seed uint64) {
	c.wait(rand.N(beat))
	var stall time.Duration
	for first := true; !c.stopped(); first = false {
		longest, err := c.converse(at, seed, first)
		stall = max(stall, longest)
		c.note(err)
		if err != nil {
			c.wait(rand.N(beat))
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stalls = append(c.stalls, stall)
}

// errWrong is about bytes; other errors are about the session that was to carry them.
var errWrong = errors.New("a wrong byte")

// note files how a session ended.
func (c *survivors) note(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case errors.Is(err, errWrong):
		c.wrong = append(c.wrong, err)
	case err != nil:
		c.lost = append(c.lost, err)
	}
}

// converse is one session: messages with their answers, and an end in order. The time is the longest for an answer.
func (c *survivors) converse(at netip.AddrPort, seed uint64, first bool) (longest time.Duration, err error) {
	s, err := dial(at, 0)
	if err != nil {
		return 0, fmt.Errorf("a session that did not begin: %w", err)
	}
	defer s.Close()
	message, answer, want := make([]byte, messageSize), make([]byte, messageSize), make([]byte, messageSize)
	for offset := int64(0); !c.stopped(); offset += messageSize {
		pattern.Fill(message, seed, offset)
		begin := time.Now()
		if _, err := write(s, message); err != nil {
			return longest, fmt.Errorf("session %d after %d bytes: %w", seed, offset, err)
		}
		if _, err := io.ReadFull(patient{s}, answer); err != nil {
			return longest, fmt.Errorf("session %d after %d bytes: %w", seed, offset, err)
		}
		if c.measured.Load() {
			longest = max(longest, time.Since(begin))
		}
		if err := pattern.Check(answer, seed, offset, want); err != nil {
			return longest, fmt.Errorf("%w: session %d: %w", errWrong, seed, err)
		}
		c.messages.Add(1)
		if first && offset == 0 {
			c.sessions.Add(1)
		}
		c.wait(beat - time.Since(begin))
	}
	return longest, errors.Join(s.CloseWrite(), ended(s))
}

// flow plays over UDP until the traffic stops. What is lost is sent again, and makes the answer late.
func (c *survivors) flow(at netip.AddrPort, seed uint64) {
	c.wait(rand.N(beat))
	s, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(at))
	if err != nil {
		c.note(fmt.Errorf("%w: flow %d: %w", errWrong, seed, err))
		return
	}
	defer s.Close()
	var longest time.Duration
	for number := uint32(0); !c.stopped(); number++ {
		begin := time.Now()
		for wait := firstWait; ; wait = min(2*wait, beat) { // a box that is busy is not to get more and more
			err := exchange(s, seed, number, wait)
			if err == nil {
				break
			}
			if errors.Is(err, errWrong) || time.Since(begin) > patience {
				c.note(fmt.Errorf("%w: flow %d: %w", errWrong, seed, err))
				return
			}
			if errors.Is(err, errStranger) {
				c.strangers.Add(1)
			}
			if c.measured.Load() {
				c.datagrams.Add(1)
			}
		}
		if c.measured.Load() {
			longest = max(longest, time.Since(begin))
		}
		c.messages.Add(1)
		if number == 0 {
			c.flows.Add(1)
		}
		c.wait(beat - time.Since(begin))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flowStalls = append(c.flowStalls, longest)
}

// datagram is a number and bytes that only it has.
func datagram(seed uint64, number uint32) []byte {
	const largest = 1200 // fits in a packet with any header
	b := binary.BigEndian.AppendUint32(make([]byte, 0, largest), number)
	b = b[:4+(uint64(number)*131+seed*17)%(largest-3)]
	pattern.Fill(b[4:], seed, int64(number)*largest)
	return b
}

// firstWait is how long a datagram may take until it is sent again.
const firstWait = 50 * time.Millisecond

// errStranger is about a datagram that another flow was to get.
var errStranger = errors.New("another flow's datagram")

// exchange sends one and waits for its echo, past those of earlier tries.
func exchange(s *net.UDPConn, seed uint64, number uint32, wait time.Duration) error {
	message, buf := datagram(seed, number), make([]byte, 1<<11)
	if err := s.SetDeadline(now(wait)); err != nil {
		return err
	}
	if _, err := s.Write(message); err != nil {
		time.Sleep(10 * time.Millisecond) // an ICMP error of an earlier one
		return err
	}
	for {
		n, err := s.Read(buf)
		if err != nil {
			return err
		}
		if bytes.Equal(buf[:n], message) {
			return nil
		}
		if n < 4 {
			return fmt.Errorf("%w: got %x, want %x", errWrong, buf[:n], message)
		}
		got := binary.BigEndian.Uint32(buf)
		if got < number && bytes.Equal(buf[:n], datagram(seed, got)) {
			continue
		}
		for other := range uint64(flowCount) {
			if other != seed && bytes.Equal(buf[:n], datagram(other, got)) {
				return fmt.Errorf("%w: datagram %d of flow %d", errStranger, got, other)
			}
		}
		return fmt.Errorf("%w: got %x, want %x", errWrong, buf[:n], message)
	}
}

// echo sends back what comes, until the end.
func echo(origin *net.TCPConn, _ netip.AddrPort) error {
	b := make([]byte, 4096)
	for {
		n, err := read(origin, b)
		if errors.Is(err, io.EOF) && n == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := write(origin, b[:n]); err != nil {
			return err
		}
	}
}

func (c *survivors) stopped() bool {
	select {
	case <-c.stop:
		return true
	default:
		return false
	}
}

// wait sleeps until the traffic stops, at most that long.
func (c *survivors) wait(long time.Duration) {
	select {
	case <-c.stop:
	case <-time.After(long):
	}
}
