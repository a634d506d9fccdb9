//go:build e2e

package attack

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// crowd is attackers with addresses of their own, who open sessions and say nothing.
type crowd struct {
	opening         sync.WaitGroup
	stop            chan struct{}
	opened, refused atomic.Int64
}

func startCrowd() *crowd {
	c := &crowd{stop: make(chan struct{})}
	for i := range attackers {
		c.opening.Go(func() { c.attack(i) })
	}
	return c
}

// attack opens sessions by many addresses, one after the other.
func (c *crowd) attack(number int) {
	var held []net.Conn
	defer func() {
		for _, h := range held {
			_ = h.Close()
		}
	}()
	for i := number; ; i += attackers {
		select {
		case <-c.stop:
			return
		default:
		}
		f := families[i/attackers%len(families)]
		s, err := dial(within(f.crowd, i), netip.AddrPortFrom(f.edge, tcpPort), time.Second)
		if err != nil {
			c.refused.Add(1)
			continue
		}
		c.opened.Add(1)
		held = append(held, s)
		if len(held) > mostHeld/attackers {
			_ = held[0].(*net.TCPConn).SetLinger(0)
			_ = held[0].Close()
			held = held[1:]
		}
	}
}

func (c *crowd) end() {
	close(c.stop)
	c.opening.Wait()
}
