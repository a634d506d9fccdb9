package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/coreos/go-iptables/iptables"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// The interfaces. The box names its two as real boxes do in our examples; the others have one each.
const (
	outside = "eth0"
	wan     = "wan0"
	lan     = "lan0"
)

const netnsDir = "/run/netns"

// network is the namespaces of a lab, by handle. host is the one the lab was started in.
type network struct {
	host, client, edge, origin netns.NsHandle
}

// build creates the namespaces and what connects them. On error nothing but names is left, which removeAll removes.
func build(doc document, withOrigin bool) (*network, error) {
	host, err := netns.Get()
	if err != nil {
		return nil, fmt.Errorf("open the own network namespace: %w", err)
	}
	n := &network{host: host, client: netns.None(), edge: netns.None(), origin: netns.None()}
	for _, ns := range []struct {
		name   string
		handle *netns.NsHandle
	}{{Client, &n.client}, {Edge, &n.edge}, {Origin, &n.origin}} {
		if *ns.handle, err = create(ns.name); err != nil {
			n.close()
			return nil, fmt.Errorf("create network namespace %s: %w", ns.name, err)
		}
	}
	if err := errors.Join(n.connect(doc, withOrigin), n.takeFrames()); err != nil {
		n.close()
		return nil, err
	}
	return n, nil
}

// create makes a named namespace as `ip netns add` does, so that `ip netns exec` finds it.
func create(name string) (netns.NsHandle, error) {
	handle := netns.None()
	err := onOwnThread(func() (err error) {
		if handle, err = netns.NewNamed(name); err != nil {
			return err
		}
		// IPv6 is quiet and at once usable: no waiting for duplicate addresses, no router advertisements.
		// A box that forwarded packets would hide that steering missed them.
		return writeSysctls(map[string]string{
			"ipv6/conf/all/accept_dad": "0", "ipv6/conf/default/accept_dad": "0",
			"ipv6/conf/all/accept_ra": "0", "ipv6/conf/default/accept_ra": "0",
			"ipv4/ip_forward": "0", "ipv6/conf/all/forwarding": "0",
		})
	})
	return handle, err
}

// connect lays the two cables and gives every end its addresses and routes.
func (n *network) connect(doc document, withOrigin bool) error {
	for _, c := range []cable{{n.client, outside, n.edge, wan}, {n.edge, lan, n.origin, outside}} {
		if err := c.plug(); err != nil {
			return fmt.Errorf("connect %s to %s: %w", c.name, c.peerName, err)
		}
	}
	extra := doc.extraOrigins()
	// Replies to the clients' own addresses come back through the box: transparent services need that.
	origin := side{ns: n.origin, name: outside, addresses: append(slices.Clone(originAddresses), extra...), gateways: lanAddresses}
	if withOrigin {
		// Steering adds the addresses. An address that the machine has for itself is steered with care for its
		// own sockets, of which the origin has none, and a datagram may then meet the socket of a reply.
		origin.addresses, origin.networks = nil, originAddresses
	}
	for _, s := range []side{
		{ns: n.client, name: outside, addresses: clientAddresses, gateways: wanAddresses},
		// The default route lets the box answer clients with any address, as a router on its wire would.
		{ns: n.edge, name: wan, addresses: wanAddresses, gateways: clientAddresses},
		{ns: n.edge, name: lan, addresses: lanAddresses, networks: extra},
		origin,
	} {
		if err := s.setUp(); err != nil {
			return err
		}
	}
	return nil
}

// cable is a veth pair with one interface in each of two namespaces.
type cable struct {
	ns       netns.NsHandle
	name     string
	peer     netns.NsHandle
	peerName string
}

func (c cable) plug() error {
	h, err := netlink.NewHandleAt(c.ns)
	if err != nil {
		return err
	}
	defer h.Close()
	return h.LinkAdd(&netlink.Veth{
		LinkAttrs:     netlink.LinkAttrs{Name: c.name},
		PeerName:      c.peerName,
		PeerNamespace: netlink.NsFd(c.peer),
	})
}

// side is an interface with what it needs.
type side struct {
	ns        netns.NsHandle
	name      string
	addresses []netip.Prefix
	networks  []netip.Prefix // reached on the link, besides those of addresses
	gateways  []netip.Prefix // of the default routes
}

// setUp brings the interface and lo up and adds addresses and routes.
func (s side) setUp() error {
	h, err := netlink.NewHandleAt(s.ns)
	if err != nil {
		return err
	}
	defer h.Close()
	link, err := h.LinkByName(s.name)
	if err != nil {
		return fmt.Errorf("find %s: %w", s.name, err)
	}
	loopback, err := h.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("find lo: %w", err)
	}
	if err := errors.Join(h.LinkSetUp(loopback), h.LinkSetUp(link)); err != nil {
		return fmt.Errorf("set %s up: %w", s.name, err)
	}
	for _, a := range s.addresses {
		if err := h.AddrAdd(link, &netlink.Addr{IPNet: ipNet(a), Flags: unix.IFA_F_NODAD}); err != nil {
			return fmt.Errorf("add %s to %s: %w", a, s.name, err)
		}
	}
	index := link.Attrs().Index
	for _, p := range s.networks {
		if err := h.RouteReplace(&netlink.Route{LinkIndex: index, Dst: ipNet(p.Masked()), Scope: netlink.SCOPE_LINK}); err != nil {
			return fmt.Errorf("add a route to %s: %w", p, err)
		}
	}
	for _, g := range s.gateways {
		if err := h.RouteAdd(&netlink.Route{LinkIndex: index, Gw: g.Addr().AsSlice()}); err != nil {
			return fmt.Errorf("add the default route via %s: %w", g.Addr(), err)
		}
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// checkTPROXY tells in one sentence when this machine cannot steer packets, instead of a log line of edge.
// Only trying tells: a kernel may load the module on demand, and iptables may lack it all the same.
func (n *network) checkTPROXY() error {
	rule := []string{"-p", "tcp", "-j", "TPROXY", "--on-port", "1", "--tproxy-mark", "0x1/0x1"}
	return within(n.edge, func() error {
		for _, proto := range []iptables.Protocol{iptables.ProtocolIPv4, iptables.ProtocolIPv6} {
			ipt, err := iptables.NewWithProtocol(proto)
			if err != nil {
				return fmt.Errorf("needs the package iptables: %w", err)
			}
			if err := ipt.Append("mangle", "PREROUTING", rule...); err != nil {
				return fmt.Errorf("needs TPROXY, which this kernel or its iptables does not have: %w", err)
			}
			if err := ipt.Delete("mangle", "PREROUTING", rule...); err != nil {
				return err
			}
		}
		return nil
	})
}

func (n *network) close() {
	for _, h := range []*netns.NsHandle{&n.host, &n.client, &n.edge, &n.origin} {
		if h.IsOpen() {
			h.Close() //nolint:errcheck // a handle for reading; nothing to lose
		}
	}
}

// Inside runs f in the network namespace with this name. Sockets that f opens and processes that it starts stay
// there; goroutines that it starts do not.
func Inside(name string, f func() error) error {
	ns, err := netns.GetFromName(name)
	if err != nil {
		return fmt.Errorf("open network namespace %s: %w", name, err)
	}
	defer ns.Close() //nolint:errcheck // a handle for reading
	return within(ns, f)
}

func within(ns netns.NsHandle, f func() error) error {
	return onOwnThread(func() error {
		if err := netns.Set(ns); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return f()
	})
}

// onOwnThread runs f on a thread that ends with it, because a thread that is left in another namespace would
// surprise the next goroutine it runs.
func onOwnThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked
		done <- f()
	}()
	return <-done
}

func writeSysctls(values map[string]string) error {
	for key, value := range values {
		if err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644); err != nil {
			return fmt.Errorf("set net/%s: %w", key, err)
		}
	}
	return nil
}

// lock makes sure that one lab runs at a time. The kernel lets go of the lock when the holder ends, however it ends.
func lock() (unlock func(), err error) {
	if err := os.MkdirAll(runDir, 0o755); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		holder, _ := os.ReadFile(lockFile)
		f.Close() //nolint:errcheck // nothing was written
		return nil, fmt.Errorf("a lab runs already (process %s); end it first", strings.TrimSpace(string(holder)))
	}
	pid := fmt.Sprintf("%d\n", os.Getpid())
	if err := errors.Join(f.Truncate(0), writeAt(f, pid)); err != nil {
		return nil, fmt.Errorf("write %s: %w", lockFile, err)
	}
	return func() {
		os.Remove(lockFile) //nolint:errcheck // the lock is what counts, not the name
		f.Close()           //nolint:errcheck // ends the lock
		os.Remove(runDir)   //nolint:errcheck // only when empty
	}, nil
}

func writeAt(f *os.File, text string) error {
	_, err := f.WriteAt([]byte(text), 0)
	return err
}

// removeAll removes whatever a lab makes, from any state. With a namespace go its interfaces, rules and routes.
func removeAll() error {
	errs := []error{os.RemoveAll(labDir), os.RemoveAll(defaultFile), os.RemoveAll(pinsDir)}
	for _, name := range []string{Client, Edge, Origin} {
		path := filepath.Join(netnsDir, name)
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.ENOENT) && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("remove network namespace %s: %w", name, err))
		}
		errs = append(errs, os.RemoveAll(path))
	}
	return errors.Join(errs...)
}
