//go:build e2e

package attack

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"os"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
	"breakwater/test/attack/flood"
	"breakwater/test/lab"
)

// The bars.
const (
	leastSuccess    = 0.995 // of new players
	leastSuccessSYN = 0.999 // of their connects under a SYN flood
	mostSilent      = 0.005 // of the datagrams of steady flows
	mostTimes       = 5     // as long as without an attack
	mostPage        = time.Second
	mostBack        = 3.0 // bytes to strangers for each of theirs, on the wire
	mostRecovery    = 5 * time.Second
	mostCalm        = 4000 // flows of players, and what is left of others

	// noise is how long a connect may take on any machine that does other things as well, besides the time for which that stands
	// still. A SYN that was lost takes a second.
	noise = 400 * time.Millisecond
)

// TestAttack lets players play while each vector attacks them.
func TestAttack(t *testing.T) {
	m := begin(t)
	startOrigins(t)
	p := startPlayers(t)
	var misnamed []string
	for _, v := range vectors {
		t.Run(v.name, func(t *testing.T) {
			eventually(t, calm)
			idle := p.watch()
			time.Sleep(min(attackTime(t)/3, 5*time.Second))
			during := p.watch()
			l, a := lookOut(v), begun(t, m, v)
			time.Sleep(attackTime(t))
			a.end(t)
			l.end()
			p.watch()
			time.Sleep(time.Second) // most of those who came during the attack are served or not by now
			judge(t, v, idle, during)
			a.judge(t)
			recovers(t)
			if !l.judge(t, v) {
				misnamed = append(misnamed, v.name)
			}
		})
	}
	if len(misnamed) > len(vectors)/slip {
		t.Errorf("%d of %d attacks are called by a wrong name: %v", len(misnamed), len(vectors), misnamed)
	}
}

// calm tells whether the flows of the attack before have ended, so that each vector is judged by itself.
func calm() error {
	var s control.Status
	if err := get("/api/v1/status", &s); err != nil {
		return err
	}
	if s.Edge == nil {
		return errors.New("edge does not answer")
	}
	flows := int64(0)
	for _, service := range s.Edge.Services {
		flows += service.Flows
	}
	if flows > mostCalm {
		return fmt.Errorf("%d flows are left", flows)
	}
	return nil
}

// attack is one that goes on. Counters are those of before until it ends, and then what it made of them.
type attack struct {
	vector vector
	began  time.Time
	flood  *flood.Flood // of packets
	crowd  *crowd       // of attackers with addresses of their own
	meter  *flood.Meter
	in     traffic // that came to the box
	back   traffic // that it sent to strangers
	counts counts
}

// counts are what the box counts: packets by what they are, and what it turned away or ended by why.
type counts struct {
	vectors map[status.Vector]uint64
	reasons map[status.Reason]uint64
}

// traffic is frames, and their bytes without what a wire adds.
type traffic struct{ packets, bytes uint64 }

// wire is the bytes with that: preamble, checksum and gap, and the least size of a frame (IEEE 802.3).
func (t traffic) wire() float64 {
	return max(float64(t.bytes+24*t.packets), float64(84*t.packets))
}

func (t traffic) since(before traffic) traffic {
	return traffic{t.packets - before.packets, t.bytes - before.bytes}
}

func begun(t *testing.T, m *flood.Meter, v vector) *attack {
	t.Helper()
	a := &attack{vector: v, meter: m, began: time.Now(), counts: counted(t), in: received(t), back: cameBack(t, m)}
	if v.shapes == nil {
		a.crowd = startCrowd()
		return a
	}
	var shapes []flood.Shape
	for _, f := range families {
		shapes = append(shapes, v.shapes(f)...)
	}
	rate := attackRate(t)
	if v.rate > 0 {
		rate = v.rate
	}
	f, err := flood.Start(flood.Options{Interface: "eth0", Rate: rate, For: flood.MaxTime}, shapes...)
	if err != nil {
		t.Fatal(err)
	}
	a.flood = f
	return a
}

// end ends the attack and counts.
func (a *attack) end(t *testing.T) {
	t.Helper()
	took := time.Since(a.began).Seconds()
	if a.crowd != nil {
		a.crowd.end()
		t.Logf("%.0f connections of attackers a second, %d of %d were refused", float64(a.crowd.opened.Load())/took,
			a.crowd.refused.Load(), a.crowd.opened.Load()+a.crowd.refused.Load())
	} else {
		err := a.flood.Stop()
		sent, waited := a.flood.Wait()
		if err := errors.Join(err, waited); err != nil {
			t.Fatal(err)
		}
		a.in, a.back = received(t).since(a.in), cameBack(t, a.meter).since(a.back)
		t.Logf("%.0f packets a second left, %.0f came, %.0f went back", float64(sent)/took, float64(a.in.packets)/took, float64(a.back.packets)/took)
	}
	a.counts = counted(t).since(a.counts)
	t.Logf("the box counts %v", a.counts)
}

// counted is what the box has counted so far.
func counted(t *testing.T) counts {
	t.Helper()
	var s control.Status
	eventually(t, func() error {
		if err := get("/api/v1/status", &s); err != nil {
			return err
		}
		if s.Edge == nil {
			return errors.New("edge does not answer")
		}
		return nil
	})
	c := counts{map[status.Vector]uint64{}, map[status.Reason]uint64{}}
	for _, v := range s.Edge.Shield.Vectors {
		c.vectors[v.Vector] += v.Packets
	}
	for _, r := range s.Edge.Reasons {
		c.reasons[r.Reason] += r.Count
	}
	return c
}

func (c counts) since(before counts) counts {
	return counts{grown(c.vectors, before.vectors), grown(c.reasons, before.reasons)}
}

// grown is what has grown, and by how much.
func grown[K comparable](now, before map[K]uint64) map[K]uint64 {
	by := map[K]uint64{}
	for key, n := range now {
		if n > before[key] {
			by[key] = n - before[key]
		}
	}
	return by
}

func (c counts) String() string { return fmt.Sprintf("%v, %v", c.vectors, c.reasons) }

// judge holds what strangers were sent to what they sent, as the box cannot know that they are none, and expects that the box
// counts most packets as what they are.
func (a *attack) judge(t *testing.T) {
	t.Helper()
	if a.flood == nil {
		return
	}
	if ratio := a.back.wire() / a.in.wire(); ratio > mostBack {
		t.Errorf("%.2f bytes went back for each that came, want at most %.1f", ratio, mostBack)
	}
	most := status.Vector("none")
	for v, n := range a.counts.vectors {
		if n > a.counts.vectors[most] {
			most = v
		}
	}
	if most != a.vector.named {
		t.Errorf("the box counts most packets as %s, want %s: %v", most, a.vector.named, a.counts)
	}
}

// judge holds what players noticed during an attack to what they noticed before it.
func judge(t *testing.T, v vector, idle, during *notes) {
	t.Helper()
	before, after := idle.figures(), during.figures()
	t.Logf("before: %v", before)
	t.Logf("during: %v", after)
	for _, errs := range [][]error{during.refused, during.unanswered, during.lost, during.pageless} {
		if len(errs) > 0 {
			t.Logf("such as: %v", errs[0])
		}
	}
	least := leastSuccess
	if v.name == "syn" {
		least = leastSuccessSYN
	}
	if worse(1-after.connected, after.connects, 1-least) {
		t.Errorf("%.2f %% of connects worked, want %.1f %%", 100*after.connected, 100*least)
	}
	if worse(1-after.answered, after.exchanges, 1-leastSuccess) {
		t.Errorf("%.2f %% of exchanges worked, want %.1f %%", 100*after.answered, 100*leastSuccess)
	}
	if after.lost > 0 {
		t.Errorf("%d established sessions were lost", after.lost)
	}
	if worse(after.silent, after.datagrams, mostSilent) {
		t.Errorf("%.2f %% of the datagrams of established flows were not answered, want at most %.1f %%", 100*after.silent, 100*mostSilent)
	}
	if bar := max(mostTimes*before.p99, noise+min(after.still, noise)); after.p99 > bar {
		t.Errorf("99 of 100 connects took at most %s, want %s: it was %s before", after.p99, bar, before.p99)
	}
	if attackTime(t) >= full && after.page > mostPage {
		t.Errorf("95 of 100 looks at the status took at most %s, want %s", after.page, mostPage)
	}
}

// worse tells whether more of n failed than that share of them, and than chance makes of it: three times the spread of a count. A
// short attack meets some hundreds of each, of which one and a half may fail. Of none, nothing is known to be good.
func worse(failed float64, n int, most float64) bool {
	want := most * float64(n)
	return n == 0 || failed*float64(n) > want+3*math.Sqrt(want)
}

// figures are notes in short.
type figures struct {
	connects, exchanges, datagrams int
	connected, answered            float64 // shares
	silent                         float64
	lost                           int
	p50, p99, page                 time.Duration
	longest, longestFlow, still    time.Duration
}

func (n *notes) figures() figures {
	n.mu.Lock()
	defer n.mu.Unlock()
	slices.Sort(n.connects)
	slices.Sort(n.pages)
	page := atShare(n.pages, 0.95)
	if len(n.pageless) > 0 {
		page = patience
	}
	all := len(n.connects) + len(n.refused)
	return figures{
		connects: all, exchanges: n.exchanges, datagrams: n.datagrams,
		connected: share(len(n.connects), all), answered: share(n.exchanges-len(n.unanswered), n.exchanges), silent: 1 - share(n.datagrams-n.silent, n.datagrams),
		lost: len(n.lost), p50: atShare(n.connects, 0.5), p99: atShare(n.connects, 0.99), page: page,
		longest: n.longest, longestFlow: n.longestFlow, still: n.still,
	}
}

func (f figures) String() string {
	return fmt.Sprintf("%d connects, %.2f %% worked, p50 %s, p99 %s; %d exchanges, %.2f %%; %d sessions lost; %d datagrams, %.2f %% silent; longest answer %s of sessions, %s of flows; status p95 %s; the machine stood still for at most %s",
		f.connects, 100*f.connected, f.p50, f.p99, f.exchanges, 100*f.answered, f.lost, f.datagrams, 100*f.silent, f.longest.Round(time.Microsecond), f.longestFlow.Round(time.Microsecond), f.page, f.still.Round(time.Microsecond))
}

func share(part, all int) float64 {
	if all == 0 {
		return math.NaN()
	}
	return float64(part) / float64(all)
}

// atShare is the value that a share of a sorted list is not above; zero of an empty one.
func atShare(sorted []time.Duration, share float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[int(share*float64(len(sorted)-1))].Round(time.Microsecond)
}

// received counts what came to the box.
func received(t *testing.T) (all traffic) {
	t.Helper()
	err := lab.Inside(lab.Edge, func() error {
		l, err := netlink.LinkByName("wan0")
		if err == nil {
			all = traffic{l.Attrs().Statistics.RxPackets, l.Attrs().Statistics.RxBytes}
		}
		return err
	})
	if err != nil {
		t.Fatalf("read the counters of wan0: %v", err)
	}
	return all
}

func cameBack(t *testing.T, m *flood.Meter) traffic {
	t.Helper()
	packets, bytes, err := m.Back()
	if err != nil {
		t.Fatal(err)
	}
	return traffic{packets, bytes}
}

// recovers expects that new players are served again soon after an attack. Otherwise the box begins anew, so that the next attack
// is judged for itself.
func recovers(t *testing.T) {
	t.Helper()
	var err error
	for end := time.Now().Add(mostRecovery); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err = served(); err == nil {
			return
		}
	}
	t.Errorf("%s after the attack: %v", mostRecovery, err)
	renew(t)
}

// renew ends what is left of sessions and flows: edge begins with nothing. It ends in order, as kills condemn a plan.
func renew(t *testing.T) {
	t.Helper()
	pid, err := lab.Child("edge")
	must(t, err)
	must(t, os.RemoveAll("/sys/fs/bpf/breakwater-lab"))
	must(t, syscall.Kill(pid, syscall.SIGTERM))
	eventually(t, served)
	time.Sleep(time.Second) // players come back
}

// served tries a new player of each kind and family, by addresses that nobody else has.
func served() error {
	for _, f := range families {
		fresh := within(f.players, 200+int(time.Now().UnixMilli()%50))
		if _, err := tryLetter(fresh, netip.AddrPortFrom(f.edge, tcpPort), 1); err != nil {
			return fmt.Errorf("a connect of %s: %w", fresh, err)
		}
		if err := tryDatagram(fresh, netip.AddrPortFrom(f.edge, udpPort), 1); err != nil {
			return fmt.Errorf("an exchange of %s: %w", fresh, err)
		}
	}
	return nil
}

const (
	attackers = 64   // at the same time
	mostHeld  = 4000 // sessions; the oldest go first
)
