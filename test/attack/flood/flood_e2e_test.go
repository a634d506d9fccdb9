//go:build e2e

package flood

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

var (
	victim4 = netip.MustParsePrefix("198.18.64.0/24")
	victim6 = netip.MustParsePrefix("2001:db8:64::/112")
)

// each calls f for every kind of packet, in both IP versions.
func each(t *testing.T, f func(t *testing.T, s Shape)) {
	for _, e := range []struct {
		name string
		Ends
	}{
		{"IPv4", Ends{From: Strangers, To: victim4}},
		{"IPv6", Ends{From: Strangers6, To: victim6}},
		{"IPv4, ports", Ends{From: Strangers, To: netip.MustParsePrefix("198.18.1.10/32"), FromPort: 53, ToPort: 27015}},
		{"IPv6, ports", Ends{From: Strangers6, To: netip.MustParsePrefix("2001:db8:1::10/128"), FromPort: 53, ToPort: 27015}},
	} {
		for name, s := range map[string]Shape{
			"SYN": TCP(e.Ends, SYN, nil), "null": TCP(e.Ends, 0, nil), "PSH ACK": TCP(e.Ends, PSH|ACK, []byte("odd")),
			"empty": UDP(e.Ends, nil), "datagram": UDP(e.Ends, make([]byte, 1400)), "odd": UDP(e.Ends, []byte("odd")),
			"ping": Echo(e.Ends, []byte("12345678")), "first part": Fragment(e.Ends, false, make([]byte, 512)),
			"later part": Fragment(e.Ends, true, make([]byte, 512)),
		} {
			t.Run(e.name+"/"+name, func(t *testing.T) { f(t, s) })
		}
	}
}

// TestPacketsAreWhole: addresses are where they should be, and a network stack would take every packet.
func TestPacketsAreWhole(t *testing.T) {
	each(t, func(t *testing.T, s Shape) {
		f := &Flood{}
		attrs := netlink.NewLinkAttrs()
		attrs.Index, attrs.HardwareAddr = 1, make([]byte, 6)
		if err := f.load(Options{Rate: MaxRate, For: time.Minute}, &attrs, make([]byte, 6), []Shape{s}); err != nil {
			t.Fatal(err)
		}
		defer f.objects.Close()
		seen := map[string]bool{}
		for range 100 {
			out := make([]byte, maxFrame)
			o := ebpf.RunOptions{Data: make([]byte, maxFrame), DataOut: out}
			if verdict, err := f.objects.Flood.Run(&o); err != nil || verdict != 4 {
				t.Fatalf("got the verdict %d (%v), want to be redirected", verdict, err)
			}
			if len(o.DataOut) != len(s.frame) {
				t.Fatalf("got %d bytes, want %d", len(o.DataOut), len(s.frame))
			}
			inspect(t, s, o.DataOut)
			seen[string(o.DataOut)] = true
		}
		if len(seen) < 90 {
			t.Errorf("of 100 packets %d are different", len(seen))
		}
	})
}

func inspect(t *testing.T, s Shape, frame []byte) {
	t.Helper()
	ip := frame[14:]
	var from, to netip.Addr
	if ip[0]>>4 == 4 {
		from, to = netip.AddrFrom4([4]byte(ip[12:])), netip.AddrFrom4([4]byte(ip[16:]))
		if sum := whole(add(ip[:20])); sum != 0 {
			t.Errorf("the IPv4 header has the checksum %x", sum)
		}
	} else {
		from, to = netip.AddrFrom16([16]byte(ip[8:])), netip.AddrFrom16([16]byte(ip[24:]))
	}
	if !s.from.Contains(from) || !s.to.Contains(to) {
		t.Errorf("it goes from %s to %s, want from %s to %s", from, to, s.from, s.to)
	}
	if s.sumAt == 0 {
		return
	}
	sum := add(frame[s.transport:])
	if s.protocol != icmpv4 {
		sum += add(from.AsSlice()) + add(to.AsSlice()) + add(binary.BigEndian.AppendUint16(nil, uint16(len(frame)-s.transport))) + add([]byte{0, byte(s.protocol)})
	}
	if sum := whole(sum); sum != 0 {
		t.Errorf("the transport has the checksum %x", sum)
	}
}

// whole is 0 for what has a right checksum in it.
func whole(sum uint32) uint32 {
	for sum > 0xffff {
		sum = sum&0xffff + sum>>16
	}
	return ^sum & 0xffff
}

// TestFloodArrives sends over a veth at a rate, and unbounded.
func TestFloodArrives(t *testing.T) {
	runtime.LockOSThread() // and never unlocked: the namespaces end with the test
	here, there := namespace(t), namespace(t)
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	pair := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "here"}, PeerName: "there", PeerNamespace: netlink.NsFd(there)}
	if err := netlink.LinkAdd(pair); err != nil {
		t.Fatal(err)
	}
	up(t, here, "here", "198.18.1.2/24")
	up(t, there, "there", "198.18.1.10/24")
	if err := netns.Set(there); err != nil {
		t.Fatal(err)
	}
	m, err := Attach("there")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := netns.Set(here); err != nil {
		t.Fatal(err)
	}
	ends := Ends{From: Strangers, To: netip.MustParsePrefix("198.18.1.10/32")}
	const rate = 20_000
	if sent := arrive(t, m, there, Options{Interface: "here", Rate: rate, For: time.Second}, UDP(ends, nil)); sent > rate*11/10 || sent < rate/10 {
		t.Errorf("%d packets left within a second, want about %d", sent, rate)
	}
	arrive(t, m, there, Options{Interface: "here", For: time.Second}, UDP(ends, nil), TCP(ends, SYN, nil))
	back := Ends{From: Strangers, To: netip.PrefixFrom(Strangers.Addr(), 24)}
	if _, err := Start(Options{Interface: "lo", For: time.Second}, UDP(back, nil)); err == nil {
		t.Error("the loopback may be flooded")
	}
}

// arrive floods and expects that nearly all comes to the other end.
func arrive(t *testing.T, m *Meter, there netns.NsHandle, o Options, shapes ...Shape) (sent uint64) {
	t.Helper()
	before := received(t, there)
	f, err := Start(o, shapes...)
	if err != nil {
		t.Fatal(err)
	}
	sent, err = f.Wait()
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(50 * time.Millisecond)
	came := received(t, there) - before
	t.Logf("%d packets left, %d came", sent, came)
	if sent == 0 || came < sent/2 {
		t.Errorf("%d of %d packets came", came, sent)
	}
	return sent
}

// received counts the packets that came to the other end of the veth.
func received(t *testing.T, there netns.NsHandle) uint64 {
	t.Helper()
	h, err := netlink.NewHandleAt(there)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	l, err := h.LinkByName("there")
	if err != nil {
		t.Fatal(err)
	}
	return l.Attrs().Statistics.RxPackets
}

func namespace(t *testing.T) netns.NsHandle {
	t.Helper()
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	quiet, err := filepath.Glob("/proc/sys/net/ipv6/conf/*/disable_ipv6")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range quiet {
		if err := os.WriteFile(file, []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
	return ns
}

func up(t *testing.T, ns netns.NsHandle, name, address string) {
	t.Helper()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	l, err := h.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	a, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.AddrAdd(l, a); err != nil {
		t.Fatal(err)
	}
	if err := h.LinkSetUp(l); err != nil {
		t.Fatal(err)
	}
}
