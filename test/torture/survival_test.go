//go:build e2e

package torture

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// What is expected of sessions and flows that outlive edge, on every engine but the user path: its sessions are sockets
// of edge, and end with it.
const (
	longestStall = 100 * time.Millisecond // of all but one in a hundred
	longestGap   = 500 * time.Millisecond // in which new connections do not work
)

const (
	tcpPort, udpPort, tryPort = 13000, 13001, 13002

	flowCount = 2000

	beat  = 2 * time.Second // each session and flow says something once in that time
	pause = 3 * time.Second // between the ends of edge, longer than that
)

// TestEdgeEndsUnderTraffic restarts edge five times, kills it five times and upgrades it twice, while 5,000 sessions and 2,000
// flows go on whose every byte is checked.
func TestEdgeEndsUnderTraffic(t *testing.T) {
	const flows, rounds = flowCount, 5
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			apply(t, survivalDocument(engine, 0))
			for _, f := range families {
				w := way{family: f, header: "v2", dialled: netip.AddrPortFrom(f.edge, tcpPort)}
				w.listener = listen(t, lab.Origin, netip.AddrPortFrom(f.origin, tcpPort))
				w.carriedBy(t, engine)
				must(t, w.listener.Close())
			}
			sessions := 5000
			if engine == "user" { // four files each, and a machine may not allow root that many
				sessions = min(sessions, mostSessions(t)*9/10)
			}
			c := &survivors{stop: make(chan struct{})}
			for _, f := range families {
				c.play(t, f, sessions/2, flows/2)
			}
			eventually(t, func() error { return c.allPlay(sessions/2*2, flows) })
			time.Sleep(pause)
			c.measured.Store(true) // from now on: that many begin at once is not what is asked
			var gaps []time.Duration
			for round := range rounds {
				for i, how := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
					gap := endEdge(t, how)
					t.Logf("%s: no new connections for %s", how, gap.Round(time.Millisecond))
					gaps = append(gaps, gap)
					if i == 1 {
						// Another plan, as three kills within a minute condemn one.
						apply(t, survivalDocument(engine, 1+round))
					}
					time.Sleep(pause)
				}
			}
			for _, layout := range []string{"others", "layout"} {
				gap := upgradeEdge(t, layout)
				t.Logf("upgrade, another %s: no new connections for %s", layout, gap.Round(time.Millisecond))
				gaps = append(gaps, gap)
				time.Sleep(pause)
			}
			c.end()
			c.judge(t, engine, slices.Max(gaps))
		})
	}
}

// survivalDocument is the same service in many editions.
func survivalDocument(engine string, edition int) settings.Settings {
	var services []settings.Service
	for _, f := range families {
		s := service(f, "v2", engine, fmt.Sprintf("%d-%d", tcpPort, tryPort))
		s.UDPHeader, s.Limits.MaxSessions = "v2-each", 100_000+edition
		services = append(services, s)
	}
	return document(services...)
}

// endEdge ends edge and returns for how long new connections did not work, when its successor is at work.
func endEdge(t *testing.T, how syscall.Signal) time.Duration {
	t.Helper()
	old, err := lab.Child("edge")
	must(t, err)
	p, begin := newConnections(), time.Now()
	eventually(t, func() error { return p.worksSince(begin) })
	must(t, syscall.Kill(old, how))
	eventually(t, func() error {
		pid, err := lab.Child("edge")
		if err == nil && pid == old {
			err = fmt.Errorf("process %d of edge goes on", pid)
		}
		return err
	})
	eventually(t, inForce)
	successor := time.Now()
	eventually(t, func() error { return p.worksSince(successor) })
	return p.end()
}

// upgradeEdge ends edge when another program is in its place, whose eBPF maps have another layout: layout is that of the maps
// of sessions, others that of all others. It returns for how long new connections did not work.
func upgradeEdge(t *testing.T, layout string) time.Duration {
	t.Helper()
	binary, err := lab.Binary()
	must(t, err)
	dir := t.TempDir()
	ledger, err := filepath.Abs("../../appliance/kernel/ledger.go")
	must(t, err)
	text, err := os.ReadFile(ledger)
	must(t, err)
	other := filepath.Join(dir, "ledger.go")
	changed := regexp.MustCompile(`\b`+layout+` = \d+ `).ReplaceAll(text, []byte(layout+" = 999 "))
	if bytes.Equal(changed, text) {
		t.Fatalf("%s does not say what layout the maps have", ledger)
	}
	must(t, os.WriteFile(other, changed, 0o600))
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{ledger: other}})
	must(t, err)
	must(t, os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600))
	build := exec.Command("go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", binary+".next", "./cmd/breakwater")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build another version: %v: %s", err, out)
	}
	if _, err := os.Stat(binary + ".kept"); err != nil {
		must(t, os.Link(binary, binary+".kept"))
		t.Cleanup(func() { must(t, os.Rename(binary+".kept", binary)) })
	}
	must(t, os.Rename(binary+".next", binary))
	return endEdge(t, syscall.SIGTERM)
}

// inForce tells whether edge runs what control wants.
func inForce() error {
	s, err := boxStatus()
	if err == nil && !s.InForce {
		err = errors.New("the settings are not in force")
	}
	return err
}

// mostSessions is how many edge has files for.
func mostSessions(t *testing.T) int {
	t.Helper()
	s, err := boxStatus()
	must(t, err)
	return s.Edge.Limits.MaxSessions
}

func boxStatus() (s control.Status, err error) {
	out, err := exec.Command("../../build/breakwater", "status", "--json").CombinedOutput()
	if err := json.Unmarshal(out, &s); err != nil {
		return s, fmt.Errorf("read the status: %w: %s", err, out)
	}
	return s, err
}

// probe tries new sessions. Each has a try of its own, as a client's kernel repeats a SYN after a second only.
type probe struct {
	trying sync.WaitGroup
	stop   chan struct{}

	mu     sync.Mutex
	worked []time.Time // when tries began that worked
	last   error       // of those that did not
}

// newConnections tries one every 20 ms.
func newConnections() *probe {
	p := &probe{stop: make(chan struct{})}
	p.trying.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-p.stop:
				return
			case begin := <-tick.C:
				p.trying.Go(func() { p.try(families[i%2].edge, begin) })
			}
		}
	})
	return p
}

func (p *probe) try(edge netip.Addr, begin time.Time) {
	err := tryEcho(netip.AddrPortFrom(edge, tryPort), 500*time.Millisecond)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.last = err
		return
	}
	p.worked = append(p.worked, begin)
}

// worksSince tells whether a try worked that began after a moment.
func (p *probe) worksSince(moment time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.ContainsFunc(p.worked, moment.Before) {
		return fmt.Errorf("new connections do not work: %w", p.last)
	}
	return nil
}

// end ends the tries and returns the longest time between the begins of two that worked.
func (p *probe) end() (longest time.Duration) {
	close(p.stop)
	p.trying.Wait()
	slices.SortFunc(p.worked, time.Time.Compare)
	for i := range p.worked[1:] {
		longest = max(longest, p.worked[i+1].Sub(p.worked[i]))
	}
	return longest
}

// tryEcho opens a session and gets four bytes back.
func tryEcho(at netip.AddrPort, limit time.Duration) error {
	c, err := dialWithin(at, 0, limit)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SetDeadline(now(limit)); err != nil {
		return err
	}
	if _, err := c.Write([]byte("ping")); err != nil {
		return err
	}
	_, err = c.Read(make([]byte, 4))
	return err
}

// survivors are the sessions and flows, and what became of them.
type survivors struct {
	playing sync.WaitGroup
	stop    chan struct{}
	ends    []func() error // of the origins

	sessions, flows atomic.Int64 // which got an answer once
	messages        atomic.Int64
	strangers       atomic.Int64 // datagrams that another flow was to get
	measured        atomic.Bool  // how long answers take
	datagrams       atomic.Int64 // that got no answer while that is measured
	mu              sync.Mutex
	lost            []error         // sessions
	wrong           []error         // sessions and flows
	stalls          []time.Duration // the longest of each session
	flowStalls      []time.Duration // the longest of each flow
}

// play opens the sessions and flows of one family.
func (c *survivors) play(t *testing.T, f family, sessions, flows int) {
	t.Helper()
	w := way{family: f, header: "v2", dialled: netip.AddrPortFrom(f.edge, tcpPort)}
	w.listener = listen(t, lab.Origin, netip.AddrPortFrom(f.origin, tcpPort))
	c.ends = append(c.ends, w.each(echo), echoDatagrams(t, f, "v2-each", udpPort, false), echoTries(t, f))
	for i := range sessions {
		c.playing.Go(func() { c.session(w.dialled, uint64(i)) })
	}
	for i := range flows {
		c.playing.Go(func() { c.flow(netip.AddrPortFrom(f.edge, udpPort), uint64(i)) })
	}
}

// echoTries echoes to the tries of a probe. One that got no answer in time may break off, which is no fault.
func echoTries(t *testing.T, f family) (end func() error) {
	t.Helper()
	w := way{family: f, header: "v2", dialled: netip.AddrPortFrom(f.edge, tryPort)}
	w.listener = listen(t, lab.Origin, netip.AddrPortFrom(f.origin, tryPort))
	unlessReset := func(err error) error {
		if errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
			return nil
		}
		return err
	}
	ended := w.each(func(origin *net.TCPConn, client netip.AddrPort) error { return unlessReset(echo(origin, client)) })
	return func() error { return unlessReset(ended()) }
}

func (c *survivors) allPlay(sessions, flows int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, f := int(c.sessions.Load()), int(c.flows.Load()); s < sessions || f < flows {
		return fmt.Errorf("%d of %d sessions and %d of %d flows have begun (%d lost, %d wrong, as %w)",
			s, sessions, f, flows, len(c.lost), len(c.wrong), errors.Join(slices.Concat(c.lost, c.wrong)[:min(1, len(c.lost)+len(c.wrong))]...))
	}
	return nil
}

// end ends the traffic. A session that is there until then ends in order.
func (c *survivors) end() {
	close(c.stop)
	c.playing.Wait()
}

func (c *survivors) judge(t *testing.T, engine string, gap time.Duration) {
	t.Helper()
	slices.Sort(c.stalls)
	slices.Sort(c.flowStalls)
	stall, flowStall := atShare(c.stalls, 0.99), atShare(c.flowStalls, 0.99)
	t.Logf("%d messages; %d sessions lost; %d sessions or flows with wrong bytes; %d datagrams of other flows; longest stall of sessions: p99 %s, max %s; of flows: p99 %s, max %s, %d datagrams without answer; no new connections for at most %s",
		c.messages.Load(), len(c.lost), len(c.wrong), c.strangers.Load(), stall, atShare(c.stalls, 1), flowStall, atShare(c.flowStalls, 1), c.datagrams.Load(), gap)
	for _, err := range c.wrong[:min(5, len(c.wrong))] {
		t.Error(err)
	}
	for _, end := range c.ends {
		if err := end(); err != nil && engine != "user" {
			t.Errorf("at the origin: %v", err)
		}
	}
	if engine == "user" {
		return
	}
	if n := c.strangers.Load(); n > 0 {
		t.Errorf("%d datagrams came to other flows than theirs", n)
	}
	for _, err := range c.lost[:min(5, len(c.lost))] {
		t.Error(err)
	}
	// How long depends on what else the machine does, so it is told and not judged.
	t.Logf("the aim on a quiet machine: stalls of %s, %s without new connections", longestStall, longestGap)
}

// atShare is the value that a share of a sorted list is not above; zero of an empty one.
func atShare(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(share*float64(len(sorted)-1))].Round(time.Millisecond)
}
