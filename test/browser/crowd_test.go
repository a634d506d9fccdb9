//go:build e2e

package browser

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"breakwater/test/lab"
)

// crowdVariable makes the test binary a crowd of players: a process of its own, since each player is a descriptor of
// which a process has not enough for a test as well.
const crowdVariable = "BREAKWATER_CROWD"

// wanted is what a crowd is told in that variable.
type wanted struct {
	From []netip.Addr   // each player has one of these, in turn
	At   netip.AddrPort // what they dial
	Many int
}

// gone is how a crowd tells that the connection of a player ended.
type gone struct {
	Client netip.AddrPort
	At     time.Time
	Why    string
}

// beCrowd opens the connections, prints a line, and then one for each that ends, until its standard input does.
func beCrowd(text string) error {
	var w wanted
	if err := json.Unmarshal([]byte(text), &w); err != nil {
		return err
	}
	ended := make(chan gone, w.Many)
	go func() {
		out := json.NewEncoder(os.Stdout)
		for g := range ended {
			_ = out.Encode(g)
		}
	}()
	if err := openAll(w, ended); err != nil {
		return err
	}
	ended <- gone{Why: "all are there"}
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

func openAll(w wanted, ended chan<- gone) error {
	const atOnce = 64
	numbers, failures := make(chan int), make(chan error, w.Many)
	var opening sync.WaitGroup
	for range atOnce {
		opening.Go(func() {
			for n := range numbers {
				failures <- openOne(w.From[n%len(w.From)], w.At, ended)
			}
		})
	}
	for n := range w.Many {
		numbers <- n
	}
	close(numbers)
	opening.Wait()
	close(failures)
	for err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

// openOne plays: it says hello, reads the origin's line and waits for the end.
func openOne(from netip.Addr, at netip.AddrPort, ended chan<- gone) error {
	c, line, err := play(from, at)
	if err != nil {
		return fmt.Errorf("%w (got %q)", err, line)
	}
	client := c.LocalAddr().(*net.TCPAddr).AddrPort()
	go func() {
		_, err := io.Copy(io.Discard, c)
		ended <- gone{client, time.Now(), fmt.Sprint(err)}
		_ = c.Close()
	}()
	return nil
}

// play connects as a player with this address and reads the line that the origin answers with. It has to be called in
// the players' namespace.
func play(from netip.Addr, at netip.AddrPort) (*net.TCPConn, []byte, error) {
	d := net.Dialer{Timeout: patience, LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
	d.SetMultipathTCP(false)
	conn, err := d.Dial("tcp", at.String())
	if err != nil {
		return nil, nil, err
	}
	c := conn.(*net.TCPConn)
	_ = c.SetDeadline(time.Now().Add(patience))
	line, err := bufio.NewReaderSize(c, 512).ReadSlice('\n')
	_ = c.SetDeadline(time.Time{})
	if err != nil {
		_ = c.Close()
	}
	return c, line, err
}

// answer is what the origin said to one player, or why there is none.
func answer(from netip.Addr, at netip.AddrPort) (a lab.Answer, err error) {
	err = lab.Inside(lab.Client, func() error {
		c, line, err := play(from, at)
		if err != nil {
			return err
		}
		return errors.Join(json.Unmarshal(line, &a), c.Close())
	})
	return a, err
}

// crowd is the players of a test.
type crowd struct {
	mu   sync.Mutex
	ends map[netip.AddrPort]gone
}

// gather starts players that stay until the test ends. Their addresses are given to bw-client.
func gather(t testing.TB, w wanted) *crowd {
	t.Helper()
	text, err := json.Marshal(w)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), crowdVariable+"="+string(text))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	in, err := cmd.StdinPipe()
	must(t, err)
	must(t, lab.Inside(lab.Client, func() error {
		for _, a := range w.From {
			if text, err := exec.Command("ip", "address", "replace", a.String()+"/24", "dev", "eth0").CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, text)
			}
		}
		return cmd.Start()
	}))
	c := &crowd{ends: map[netip.AddrPort]gone{}}
	ready, over := make(chan struct{}), make(chan struct{})
	go c.read(bufio.NewScanner(out), ready, over)
	t.Cleanup(func() {
		_ = in.Close()
		select {
		case <-over:
		case <-time.After(patience):
			_ = cmd.Process.Signal(syscall.SIGKILL)
		}
		_ = cmd.Wait()
	})
	select {
	case <-ready:
	case <-over:
		t.Fatal("the players could not all connect")
	case <-time.After(2 * time.Minute):
		t.Fatal("the players did not all connect within two minutes")
	}
	return c
}

func (c *crowd) read(lines *bufio.Scanner, ready, over chan<- struct{}) {
	defer close(over)
	for lines.Scan() {
		var g gone
		if json.Unmarshal(lines.Bytes(), &g) != nil {
			continue // a line that was cut at the end
		}
		if strings.HasPrefix(g.Why, "all") {
			close(ready)
			continue
		}
		c.mu.Lock()
		c.ends[g.Client] = g
		c.mu.Unlock()
	}
}

// ended is when and why the connection of a player ended.
func (c *crowd) ended(client netip.AddrPort) (gone, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	g, ok := c.ends[client]
	return g, ok
}

// endedOf counts the players with this address whose connection ended, and tells when the last did.
func (c *crowd) endedOf(address netip.Addr) (n int, last time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for client, g := range c.ends {
		if client.Addr() == address {
			n++
			if g.At.After(last) {
				last = g.At
			}
		}
	}
	return n, last
}
