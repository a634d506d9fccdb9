//go:build e2e

package kernel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/status"
)

// reply is the client's ACK to the cookie in an answer.
func reply(in packet, answer packet) packet {
	p := in
	p.flags, p.seq, p.ack, p.options = flagACK, in.seq+1, answer.seq+1, nil
	if i := bytes.Index(answer.options, []byte{8, 10}); i >= 0 {
		p.options = append([]byte{1, 1}, optionTimestamps(0x11223355, binary.BigEndian.Uint32(answer.options[i+2:]))...)
	}
	return p
}

// asks sends a SYN and gives the answer.
func (r *rig) asks(t testing.TB, in packet) packet {
	t.Helper()
	verdict, out, _ := r.shielded(t, in.frame())
	answer, err := readFrame(out)
	if verdict != xdpTX || err != nil {
		t.Fatalf("the verdict about a SYN is %d, %v", verdict, err)
	}
	return answer
}

// TestCookieReturned: what comes back is let in when it is right, and dropped otherwise.
func TestCookieReturned(t *testing.T) {
	r := cookieRig(t)
	port := uint16(42000)
	for _, v := range []struct {
		name   string
		change func(*packet)
		plain  bool // without timestamps
		right  bool
		passes bool // it is no business of cookies
	}{
		{name: "as it was", change: func(*packet) {}, right: true},
		{name: "without timestamps, as it was", change: func(*packet) {}, plain: true, right: true},
		{name: "with data", change: func(p *packet) { p.payload = []byte("hello"); p.flags |= flagPSH }, right: true},
		{name: "with the end", change: func(p *packet) { p.flags |= flagFIN }, right: true},
		{name: "another acknowledgement", change: func(p *packet) { p.ack += 1 << 9 }},
		{name: "another scale", change: func(p *packet) { p.ack ^= 1 }},
		{name: "another epoch", change: func(p *packet) { p.ack = (p.ack - 1 ^ 0x80) + 1 }},
		{name: "another sequence", change: func(p *packet) { p.seq++ }},
		{name: "another address", change: func(p *packet) { p.from = netip.AddrPortFrom(p.from.Addr().Next(), p.from.Port()) }},
		{name: "another port", change: func(p *packet) { p.from = netip.AddrPortFrom(p.from.Addr(), p.from.Port()+20000) }},
		{name: "another timestamp", change: func(p *packet) { p.options[11]++ }},
		{name: "timestamps gone", change: func(p *packet) { p.options = nil }},
		{name: "timestamps that nobody asked for", plain: true, change: func(p *packet) { p.options = options(optionTimestamps(1, 2)) }},
		{name: "a reset", change: func(p *packet) { p.flags = flagRST }, passes: true},
	} {
		for _, f := range families {
			port++
			t.Run(v.name+"/"+f.name, func(t *testing.T) {
				in := f.opening(protocolTCP, port, portArmed)
				in.options = usual
				if v.plain {
					in.options = optionMSS(1300)
				}
				p := reply(in, r.asks(t, in))
				v.change(&p)
				before := r.cookies(t)
				verdict, out, marked := r.shielded(t, p.frame())
				after := r.cookies(t)
				switch {
				case v.right:
					before.Accepted++
					if verdict != xdpPass || !marked || !bytes.Equal(out, p.frame()) {
						t.Errorf("a right cookie has the verdict %d, marked %t", verdict, marked)
					}
					r.admitted(t, p, v.plain)
				case v.passes:
					if verdict != xdpPass || marked {
						t.Errorf("the verdict is %d, marked %t", verdict, marked)
					}
				default:
					before.Refused++
					if verdict != xdpDrop {
						t.Errorf("a wrong cookie has the verdict %d, marked %t", verdict, marked)
					}
				}
				if after != before {
					t.Errorf("the counts are %+v, want %+v", after, before)
				}
			})
		}
	}
}

// admitted compares what is known of a connection with what its SYN asked for.
func (r *rig) admitted(t *testing.T, p packet, plain bool) {
	t.Helper()
	key := bpfTuple{Src: p.from.Addr().As16(), Dst: p.to.Addr().As16(), Sport: htons(p.from.Port()), Dport: htons(p.to.Port()), Protocol: protocolTCP}
	var a bpfAdmission
	if err := r.path.objects.Admissions.Lookup(&key, &a); err != nil {
		t.Fatal(err)
	}
	got := a.Attrs
	want := got
	if plain {
		want.Mss, want.TstampOk, want.SackOk, want.WscaleOk, want.SndWscale, want.RcvWscale = 1300, 0, 0, 0, 0, 0
		if p.from.Addr().Is6() {
			want.Mss = 1220
		}
	} else {
		want.Mss, want.TstampOk, want.SackOk, want.WscaleOk, want.SndWscale, want.RcvWscale = 1460, 1, 1, 1, 9, 7
		if p.from.Addr().Is6() {
			want.Mss = 1440
		}
		want.RcvTsval, want.RcvTsecr = 0x11223355, binary.BigEndian.Uint32(p.options[8:])
	}
	if got != want {
		t.Errorf("a listener would be told %+v, want %+v", got, want)
	}
}

// early waits, if need be, for the next of the spans of 1<<shift ns in which the program counts, so that this one does not end within
// a while.
func early(shift int, while time.Duration) {
	const ms = time.Millisecond
	for left := ^now() & (1<<shift - 1); left < uint64(while); left = ^now() & (1<<shift - 1) {
		time.Sleep(time.Duration(left) + ms)
	}
}

// TestCookieAge: a cookie is good in its epoch and the next, whichever key counted, and never again.
func TestCookieAge(t *testing.T) {
	r := cookieRig(t)
	early(epochShift, 10*time.Second)
	epoch := now() >> epochShift
	for _, v := range []struct {
		name  string
		since uint64 // of the second key; the first counts from the beginning
		epoch uint64
		right bool
	}{
		{"of this epoch", 0, epoch, true},
		{"of the one before", 0, epoch - 1, true},
		{"of the one before that", 0, epoch - 2, false},
		{"of the same parity, long ago", 0, epoch - 4, false},
		{"of the next", 0, epoch + 1, false},
		{"of this epoch, with a new key", epoch - 3, epoch, true},
		{"of a key that counts from now on", epoch, epoch, true},
		{"of the key before that", epoch, epoch - 1, true},
		{"of this epoch, before the next key counts", epoch + 2, epoch, true},
	} {
		for _, f := range families {
			t.Run(v.name+"/"+f.name, func(t *testing.T) {
				c := r.path.cookies
				if v.since > 0 {
					c.Keys[1] = bpfCookieKey{Since: v.since, Key: [2]uint64{random64(), random64()}}
				}
				if err := r.path.objects.CookieStates.Put(uint32(0), &c); err != nil {
					t.Fatal(err)
				}
				in := f.opening(protocolTCP, uint16(43000+v.epoch%1000), portArmed)
				cookie, _ := cookieOf(&c, in, v.epoch, 15|uint8(v.epoch&1)<<7, false)
				p := reply(in, packet{seq: cookie})
				verdict, _, marked := r.shielded(t, p.frame())
				if right := verdict == xdpPass && marked; right != v.right || !right && verdict != xdpDrop {
					t.Errorf("the verdict is %d, marked %t", verdict, marked)
				}
			})
		}
	}
}

// TestKeys: a key is replaced in time, without a moment in which a cookie finds none.
func TestKeys(t *testing.T) {
	r := cookieRig(t)
	c := &r.path.cookies
	epoch := now() >> epochShift
	c.Keys[0].Since, c.Keys[1] = epoch-keyEpochs+1, bpfCookieKey{}
	old := c.Keys
	r.must(t, r.path.renewCookies)
	if c.Keys != old {
		t.Errorf("a key was replaced after %d epochs", keyEpochs-1)
	}
	c.Keys[0].Since = epoch - keyEpochs
	r.must(t, r.path.renewCookies)
	if c.Keys[1].Since < epoch+nextEpoch || c.Keys[1].Key == old[1].Key || c.Keys[0].Key != old[0].Key {
		t.Errorf("after %d epochs the keys are %+v, were %+v", keyEpochs, c.Keys, old)
	}
	after := c.Keys
	r.must(t, r.path.renewCookies)
	if c.Keys != after {
		t.Error("a key was replaced before it counted")
	}
	c.Keys[0].Key = [2]uint64{}
	r.must(t, r.path.openCookies) // of the next process
	if c.Keys[1] != after[1] || c.Keys[0].Key != old[0].Key {
		t.Error("another process made keys of its own")
	}
}

// TestArmed: a service is armed by its rate, and clients that were given a cookie are let in for a while after that.
func TestArmed(t *testing.T) {
	r := cookieRig(t)
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			var answer, in packet
			for n := range uint16(3 * autoRate) {
				in = f.opening(protocolTCP, 44000+n, portAuto)
				verdict, out, _ := r.shielded(t, in.frame())
				if want := map[bool]int{false: xdpPass, true: xdpTX}[n >= autoRate]; verdict != want {
					t.Fatalf("SYN %d has the verdict %d, want %d", n+1, verdict, want)
				}
				answer, _ = readFrame(out)
			}
			if !r.armed(t, f, status.VectorSYN) {
				t.Error("status does not say that cookies are armed")
			}
			r.disarm(t, f, 0)
			if r.armed(t, f, status.VectorSYN) {
				t.Error("status says that cookies are armed")
			}
			if verdict, _, marked := r.shielded(t, reply(in, answer).frame()); verdict != xdpPass || !marked {
				t.Errorf("the last client has the verdict %d, marked %t", verdict, marked)
			}
			r.passesShield(t, f.opening(protocolTCP, 44999, portAuto).frame())
			wrong := reply(in, answer)
			wrong.from = netip.AddrPortFrom(f.client, 45000)
			r.passesShield(t, wrong.frame())
		})
	}
}

// pressureOf finds what presses on the service of portAuto.
func (r *rig) pressureOf(t *testing.T, f family) (number uint32, p bpfPressure) {
	t.Helper()
	number, err := r.path.names.of(kindService, "v1"+f.name)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.path.objects.Pressures.Lookup(number, &p); err != nil {
		t.Fatal(err)
	}
	return number, p
}

func (r *rig) armed(t *testing.T, f family, v status.Vector) bool {
	number, _ := r.pressureOf(t, f)
	return r.path.armed(bpfVectorKey{Service: number, Vector: uint32(slices.Index(vectorNames[:], v))})
}

// disarm lets the time of being armed end so many ns from now.
func (r *rig) disarm(t *testing.T, f family, in uint64) {
	t.Helper()
	number, p := r.pressureOf(t, f)
	p.Syns.Until = now() + in - tick // the program's clock is behind ours
	p.Syns.Second, p.Syns.Count = 0, 0
	if err := r.path.objects.Pressures.Put(number, &p); err != nil {
		t.Fatal(err)
	}
}

// TestHysteresis: half the rate keeps a service armed; less does not.
func TestHysteresis(t *testing.T) {
	r := cookieRig(t)
	f := families[0]
	send := func(n int) {
		for i := range n {
			r.shielded(t, f.opening(protocolTCP, 46000+uint16(i), portAuto).frame())
		}
	}
	send(1)
	soon := uint64(5e8)
	r.disarm(t, f, soon)
	until := now() + soon
	send(autoRate / 2)
	if _, p := r.pressureOf(t, f); p.Syns.Until > until {
		t.Error("half the rate arms for longer")
	}
	send(1)
	if _, p := r.pressureOf(t, f); p.Syns.Until < until+uint64(9e9) {
		t.Error("more than half the rate does not arm for longer")
	}
}

// TestAnswersBounded: no network gets more than its share, and others do not suffer from that.
func TestAnswersBounded(t *testing.T) {
	r := cookieRig(t)
	const most = 2048 // bpf/cookie.h
	for _, f := range families {
		t.Run(f.name, func(t *testing.T) {
			refused := 0
			for begun := uint64(0); begun != now()>>30; { // once more, if a second has ended meanwhile
				early(30, time.Second)
				time.Sleep(tick) // the program's clock is behind ours
				begun, refused = now()>>30, 0
				for n := range most + 50 {
					verdict, _, _ := r.shielded(t, f.opening(protocolTCP, uint16(40000+n), portArmed).frame())
					if verdict == xdpDrop {
						refused++
					}
				}
			}
			if refused != 50 {
				t.Errorf("%d of %d were refused", refused, most+50)
			}
			other := f.opening(protocolTCP, 50000, portArmed)
			other.from = netip.AddrPortFrom(map[bool]netip.Addr{true: netip.MustParseAddr("203.0.114.9"), false: netip.MustParseAddr("2001:db9::9")}[f.client.Is4()], 50000)
			r.asks(t, other)
		})
	}
}

// TestSegmentBehindCookie: what comes close behind a right cookie, and has none itself, goes the same way. The clock of the program
// that gives clients to listeners is a little ahead of the shield's.
func TestSegmentBehindCookie(t *testing.T) {
	r := cookieRig(t)
	for n, f := range families {
		for age, passes := range map[time.Duration]bool{-3 * time.Millisecond: true, 0: true, 100 * time.Millisecond: false} {
			t.Run(fmt.Sprintf("%s/given %s ago", f.name, age), func(t *testing.T) {
				in := f.opening(protocolTCP, uint16(47000+10*n)+uint16(age/time.Millisecond)%7, portArmed) //nolint:gosec // small
				p := reply(in, r.asks(t, in))
				if verdict, _, marked := r.shielded(t, p.frame()); verdict != xdpPass || !marked {
					t.Fatalf("a right cookie has the verdict %d, marked %t", verdict, marked)
				}
				for key, a := range entriesOf[bpfTuple, bpfAdmission](t, r.path.objects.Admissions) {
					a.Assigned = now() - uint64(age) //nolint:gosec // it wraps as it should
					putEntry(t, r.path.objects.Admissions, key, a)
				}
				p.seq += 1300
				want := map[bool]int{true: xdpPass, false: xdpDrop}[passes]
				if verdict, _, marked := r.shielded(t, p.frame()); verdict != want || marked != passes {
					t.Errorf("what is behind it has the verdict %d, marked %t, want %d", verdict, marked, want)
				}
			})
		}
	}
}
