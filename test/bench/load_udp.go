package main

import (
	"encoding/binary"
	"time"

	"golang.org/x/sys/unix"
)

// inFlight is how many datagrams are under way at once: fewer than fill the smallest stock receive buffer on the
// path (212,992 bytes hold 92 datagrams of 1,200), so that a lost one is an error and not overload.
const inFlight = 64

// datagrams is the UDP load: flows take turns, each datagram is echoed.
type datagrams struct {
	job    job
	poll   *poller
	flows  []int
	next   int
	flying int
	buf    [2048]byte
	tally  tally
}

func (d *datagrams) prepare() tally {
	d.tally = tally{}
	for i := range d.job.Sessions {
		fd, errno := rawSocket(unix.SOCK_DGRAM)
		if errno != 0 {
			d.tally.fail("open a flow: %v", errno)
			return d.tally
		}
		d.flows = append(d.flows, fd)
		if errno := rawConnect(fd, sockaddr(d.job.To)); errno != 0 {
			d.tally.fail("connect a flow: %v", errno)
		}
		if errno := d.poll.add(fd, unix.EPOLLIN, i); errno != 0 {
			d.tally.fail("watch a flow: %v", errno)
		}
	}
	d.exchange(func() bool { return d.tally.Units < int64(2*len(d.flows)) })
	if d.tally.Errors > 0 {
		return d.tally
	}
	return d.timed(d.job.Warm)
}

func (d *datagrams) run() tally { return d.timed(d.job.Time) }

func (d *datagrams) timed(limit time.Duration) tally {
	d.tally = tally{}
	began := time.Now()
	d.exchange(func() bool { return time.Since(began) < limit })
	d.tally.Took = time.Since(began)
	return d.tally
}

// exchange keeps datagrams under way while more says so, and waits for the last echoes.
func (d *datagrams) exchange(more func() bool) {
	for range inFlight {
		d.send()
	}
	for d.flying > 0 && d.tally.Errors < maxErrors {
		events, err := d.poll.wait(500)
		if err != nil {
			d.tally.fail("%v", err)
			return
		}
		if len(events) == 0 {
			d.tally.fail("%d datagrams lost", d.flying)
			d.flying = 0
			return
		}
		again := more()
		for _, e := range events {
			d.receive(int(e.Fd), again)
		}
	}
}

func (d *datagrams) send() {
	i := d.next
	d.next = (d.next + 1) % len(d.flows)
	binary.BigEndian.PutUint32(d.buf[:], uint32(i))
	if n, errno := rawSend(d.flows[i], d.buf[:d.job.Size], 0); n != d.job.Size {
		d.tally.fail("send a datagram: %v", errno)
		return
	}
	d.flying++
}

func (d *datagrams) receive(i int, again bool) {
	n, errno := rawRecv(d.flows[i], d.buf[:], 0)
	if errno == unix.EAGAIN {
		return
	}
	d.flying--
	if n != d.job.Size || binary.BigEndian.Uint32(d.buf[:]) != uint32(i) {
		d.tally.fail("flow %d received %d bytes that are not its own: %v", i, n, errno)
		return
	}
	d.tally.Units++
	if again {
		d.send()
	}
}

func (d *datagrams) finish() {
	for _, fd := range d.flows {
		rawClose(fd)
	}
	rawClose(d.poll.fd)
}
