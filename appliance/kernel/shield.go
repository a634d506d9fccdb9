package kernel

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// shieldDir holds the pinned links of the shield, each under the index of its interface. It lies beside the directories of
// layouts: a program of another layout takes the place of the former in the same link, without a moment between.
const shieldDir = "shield"

// shield is the XDP program at edge interfaces (bpf/shield.h).
type shield struct {
	links  map[int]*attachment // by interface index
	modes  map[int]xdpMode
	tagged map[string]error // ports that have to leave the tags of VLANs in frames, and why one does not
}

// xdpMode is how the program runs: in the driver, or else by the kernel, which makes its buffer first.
type xdpMode struct {
	name  string // native, generic, none
	why   string // it is not native
	iface string
}

const native, generic, none = "native", "generic", "none"

// The numbers of bpf/guard.h.
const (
	shieldOff, shieldOn, shieldMonitor = 0, 1, 2

	fragmentsLimit, fragmentsPass, fragmentsDrop = 0, 1, 2

	guardReflectors = 1

	ruleDrop, rulePass, ruleCount = 0, 1, 2

	maxRules, ruleBytes = 16, 16
)

// shieldMode is how the program knows a mode. Plans that older versions of control made have none.
func shieldMode(m plan.ShieldMode) uint32 {
	switch m {
	case plan.ShieldOff:
		return shieldOff
	case plan.ShieldMonitor:
		return shieldMonitor
	case plan.ShieldOn:
	}
	return shieldOn
}

func fragments(f plan.Fragments) uint32 {
	switch f {
	case plan.FragmentsPass:
		return fragmentsPass
	case plan.FragmentsDrop:
		return fragmentsDrop
	case plan.FragmentsLimit:
	}
	return fragmentsLimit
}

// raise puts the shield in force as p wants it, after the tables of p are. It stays where it was when something fails: better an
// older filter than none.
func (k *Path) raise(p *plan.Plan) error {
	if err := errors.Join(k.configureShield(p), k.forgetServices()); err != nil {
		return err
	}
	k.tellUncovered(k.coverInterfaces(p)) // the kernel path works without
	return nil
}

func (k *Path) configureShield(p *plan.Plan) error {
	config := bpfShieldConfiguration{
		Mode: shieldMode(p.Shield.Mode), Fragments: fragments(p.Shield.Fragments), Bogons: flag(p.Shield.Bogons),
		Rules: flag(len(k.tables.rules) > 0),
	}
	if boundsPackets(&p.Limits.Sources) {
		config.Limits = 1
	}
	if err := k.objects.ShieldConfig.Put(uint32(0), config); err != nil {
		return fmt.Errorf("configure the shield: %w", err)
	}
	return nil
}

// flag is how a program knows a truth.
func flag(is bool) uint32 {
	if is {
		return 1
	}
	return 0
}

// cover puts the program at an interface, in the driver if that can, or in place of an older one.
func (k *Path) cover(index int, name string) error {
	if a := k.shield.links[index]; a != nil {
		if covers(a.link, index) {
			return nil
		}
		delete(k.shield.links, index)
		if err := a.detach(); err != nil {
			return fmt.Errorf("remove the shield from an interface that is gone: %w", err)
		}
	}
	for _, mode := range []string{native, generic} {
		pin := k.shieldPin(index, mode)
		old, err := link.LoadPinnedLink(pin, nil)
		if err != nil {
			continue
		}
		program, err := k.objects.shieldFor(mode)
		if err != nil {
			return err
		}
		if covers(old, index) && old.Update(program) == nil {
			k.shield.links[index], k.shield.modes[index] = &attachment{old, pin}, xdpMode{mode, whyGeneric[mode], name}
			return nil
		}
		if err := errors.Join(old.Unpin(), old.Close()); err != nil {
			return fmt.Errorf("remove the shield from an interface that is gone: %w", err)
		}
	}
	return k.coverAnew(index, name)
}

// shieldPin is where the link at an interface is pinned. Its name tells the mode, which the kernel does not tell of a link.
func (k *Path) shieldPin(index int, mode string) string {
	return filepath.Join(k.options.Dir, shieldDir, fmt.Sprintf("%d-%s", index, mode))
}

// whyGeneric says what is wrong with a mode.
var whyGeneric = map[string]string{generic: "The driver of this interface cannot do it, so the kernel does, at a higher cost"}

func (k *Path) coverAnew(index int, name string) error {
	mode := native
	l, err := k.attachShield(index, native, link.XDPDriverMode)
	if err != nil {
		k.options.Log.Warn("the shield is not in the driver", "interface", name, "err", err)
		mode = generic
		l, err = k.attachShield(index, generic, link.XDPGenericMode)
	}
	if err != nil {
		k.shield.modes[index] = xdpMode{none, err.Error(), name}
		return fmt.Errorf("attach the shield to %s: %w", name, err)
	}
	pin := k.shieldPin(index, mode)
	if err := errors.Join(k.distrustBloom(), l.Pin(pin)); err != nil { // what came in here until now was not seen
		return errors.Join(fmt.Errorf("pin the shield at %s: %w", name, err), l.Close())
	}
	k.shield.links[index], k.shield.modes[index] = &attachment{l, pin}, xdpMode{mode, whyGeneric[mode], name}
	return nil
}

func (k *Path) attachShield(index int, mode string, flags link.XDPAttachFlags) (link.Link, error) {
	program, err := k.objects.shieldFor(mode)
	if err != nil {
		return nil, err
	}
	return link.AttachXDP(link.XDPOptions{Interface: index, Program: program, Flags: flags})
}

// uncoverOthers removes the program, also what the last process left, from interfaces that are the edge's no more.
func (k *Path) uncoverOthers(wanted map[int]string) error {
	var failed []error
	for index, a := range k.shield.links {
		if _, stays := wanted[index]; !stays {
			failed = append(failed, a.detach())
			delete(k.shield.links, index)
		}
	}
	return errors.Join(append(failed, k.unpinOthers(wanted))...)
}

func (k *Path) unpinOthers(wanted map[int]string) error {
	pins, err := filepath.Glob(filepath.Join(k.options.Dir, shieldDir, "*"))
	if err != nil {
		return fmt.Errorf("look for the shield at other interfaces: %w", err)
	}
	for _, pin := range pins {
		text, _, _ := strings.Cut(filepath.Base(pin), "-")
		index, err := strconv.Atoi(text)
		if _, stays := wanted[index]; err != nil || stays || k.shield.links[index] != nil {
			continue
		}
		old, err := link.LoadPinnedLink(pin, nil)
		if err == nil {
			err = errors.Join(old.Unpin(), old.Close())
		}
		if err != nil {
			return fmt.Errorf("remove the shield from another interface: %w", err)
		}
	}
	return nil
}

// covers tells whether l is at the interface still.
func covers(l link.Link, index int) bool {
	info, err := l.Info()
	if err != nil {
		return false
	}
	xdp := info.XDP()
	return xdp != nil && int(xdp.Ifindex) == index
}

func (s *shield) init(dir string) error {
	s.links, s.modes = make(map[int]*attachment), make(map[int]xdpMode)
	if err := os.MkdirAll(filepath.Join(dir, shieldDir), 0o700); err != nil {
		return fmt.Errorf("make the directory of the shield's links: %w", err)
	}
	return nil
}

// buildGuards gives each service what the shield asks of its packets.
func (k *Path) buildGuards(p *plan.Plan, t *tables) error {
	for i := range p.Services {
		s := &p.Services[i]
		g := bpfGuard{Number: t.services[i].Number, FirstRule: uint32(len(t.rules)), SynRate: synRate(&s.Shield)} //nolint:gosec // far fewer
		g.Clients, g.Flows = budgets(s)
		if s.Shield.Reflectors {
			g.Flags |= guardReflectors
		}
		for _, r := range s.Shield.PacketRules[:min(len(s.Shield.PacketRules), maxRules)] {
			number, err := k.names.of(kindRule, s.Name, r.Name)
			if err != nil {
				return err
			}
			t.rules = append(t.rules, ruleEntry(&r, number))
			g.Rules++
		}
		t.guards = append(t.guards, g)
	}
	return nil
}

func ruleEntry(r *plan.PacketRule, number uint32) bpfPacketRule {
	e := bpfPacketRule{
		Number: number, Shortest: uint16(r.MinLength), Longest: uint16(r.MaxLength), //nolint:gosec // Validate bounds them
		FirstPort: r.FirstPort, LastPort: r.LastPort, LowestTtl: uint8(r.MinTTL), HighestTtl: uint8(r.MaxTTL), //nolint:gosec // bounded, too
		Length: uint8(min(len(r.Bytes), ruleBytes)), //nolint:gosec // bounded
	}
	copy(e.Bytes[:], r.Bytes)
	copy(e.Mask[:], r.Mask)
	switch r.Protocol {
	case plan.TCP:
		e.Protocol = unix.IPPROTO_TCP
	case plan.UDP:
		e.Protocol = unix.IPPROTO_UDP
	}
	switch r.Action {
	case plan.RulePass:
		e.Action = rulePass
	case plan.RuleCount:
		e.Action = ruleCount
	case plan.RuleDrop:
	}
	return e
}

// vectorNames are those of bpf/guard.h, in its order.
var vectorNames = [...]status.Vector{
	status.VectorSYN, status.VectorACK, status.VectorRST, status.VectorFIN, status.VectorFlags, status.VectorUDP, status.VectorReflection,
	status.VectorQuery, status.VectorFragment, status.VectorICMP, status.VectorOther,
}

// shieldProtocols are those that drops are counted by, in the order of bpf/guard.h.
var shieldProtocols = [...]plan.Protocol{plan.TCP, plan.UDP, "icmp", "other"}

const (
	whyCount  = 64
	noService = 1<<32 - 1
)

// shieldStatus adds what the shield has seen and dropped.
func (k *Path) shieldStatus(into *status.Edge) error {
	var config bpfShieldConfiguration
	if err := k.objects.ShieldConfig.Lookup(uint32(0), &config); err != nil {
		return fmt.Errorf("read the configuration of the shield: %w", err)
	}
	into.Shield.Mode = [...]plan.ShieldMode{plan.ShieldOff, plan.ShieldOn, plan.ShieldMonitor}[config.Mode%3]
	for _, m := range k.shield.modes {
		into.Shield.Attachments = append(into.Shield.Attachments, status.ShieldAttachment{Interface: m.iface, Mode: m.name, Why: m.why})
	}
	for p, protocol := range shieldProtocols {
		for r := range status.ReasonCount {
			at := uint32(p*whyCount + int(r)) //nolint:gosec // far fewer
			dropped, err := sum(k.objects.ShieldDrops, at)
			if err != nil {
				return err
			}
			would, err := sum(k.objects.ShieldDrops, at+uint32(len(shieldProtocols)*whyCount))
			if err != nil {
				return err
			}
			addReason(into, protocol, r, dropped)
			addCounter(&into.Shield.Would, protocol, r, would)
		}
	}
	return errors.Join(k.cookieStatus(into), k.addVectors(into), k.addRules(into), k.addSources(into), k.addAddresses(into))
}

// addRules adds what the packet rules of the plan have matched.
func (k *Path) addRules(into *status.Edge) error {
	if k.plan == nil {
		return nil
	}
	for i := range k.plan.Services {
		s := &k.plan.Services[i]
		for j := range k.tables.guards[i].Rules {
			n, err := sum(k.objects.RuleHits, k.tables.rules[k.tables.guards[i].FirstRule+j].Number)
			if err != nil {
				return err
			}
			r := &s.Shield.PacketRules[j]
			into.Shield.Rules = append(into.Shield.Rules, status.RuleCounter{Service: s.Name, Rule: r.Name, Action: r.Action, Packets: n})
		}
	}
	return nil
}

func (k *Path) addVectors(into *status.Edge) error {
	var key bpfVectorKey
	var cores []bpfVectorCount
	all := k.objects.Vectors.Iterate()
	for all.Next(&key, &cores) {
		if int(key.Vector) >= len(vectorNames) {
			continue
		}
		v := status.VectorCounter{Vector: vectorNames[key.Vector], Armed: k.armed(key)}
		if key.Service != noService {
			v.Service = k.names.service(key.Service)
		}
		for _, c := range cores {
			v.Packets += c.Packets
			v.Bytes += c.Bytes
			v.Dropped += c.Dropped
			v.Would += c.Would
		}
		into.Shield.Vectors = append(into.Shield.Vectors, v)
	}
	if err := unlessAborted(all.Err()); err != nil {
		return fmt.Errorf("read what the shield counts: %w", err)
	}
	return nil
}

// armed tells whether a defence against a vector is active.
func (k *Path) armed(key bpfVectorKey) bool {
	var p bpfPressure
	if err := k.objects.Pressures.Lookup(key.Service, &p); err != nil {
		return false // nothing presses
	}
	switch vectorNames[key.Vector] {
	case status.VectorSYN:
		return k.alwaysCookies(key.Service) || now() < p.Syns.Until
	case status.VectorACK, status.VectorRST, status.VectorFIN:
		return now() < p.Strays.Until
	case status.VectorReflection:
		return now() < p.Reflections.Until
	}
	return false
}
