package kernel

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const (
	// knownFor is how long a client is known after it was seen last: those who play every evening stay.
	knownFor = 24 * time.Hour
	// knownAgain is how often one that stays is entered again.
	knownAgain = 10 * time.Minute
	// knownEvery is how often those are looked for that are known no more.
	knownEvery = 10 * time.Minute
	// maxKnown is what bpf/limit.h has room for. Whoever was seen by a flow alone has at most half of it, as flows of made-up
	// sources can be made to look well with some patience, and sessions cannot.
	maxKnown = 262144
	// goodDatagrams each way, over goodAfter, and two rounds make a flow a good one: a player has that at once, and a flood
	// that wants to look like one pays for each address.
	goodDatagrams = 16
	goodAfter     = 10 * time.Second
)

// The numbers of bpf/limit.h.
const (
	flowBegun, flowProven = 1, 2

	provenRounds = 2
)

// known is whom the shield lets in first: addresses that clients were seen to have. The program looks them up; they are
// entered here only, so that a flood of sources cannot.
type known struct {
	mu      sync.Mutex            // guards what follows
	waiting map[bpfSourceKey]bool // to be entered; true: it had a session
	tcp     map[bpfSourceKey]bool // that are in the map, and whether they had a session
	udp     int                   // of those without

	swept time.Time // of enterKnown alone, as is what it does with the map
}

// load finds the addresses of the last process.
func (n *known) load(table *ebpf.Map) error {
	n.waiting, n.tcp, n.udp = make(map[bpfSourceKey]bool), make(map[bpfSourceKey]bool), 0
	var key bpfSourceKey
	var value bpfKnown
	all := table.Iterate()
	for all.Next(&key, &value) {
		n.note(key, value.Tcp != 0)
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read whom the shield knows: %w", err)
	}
	return nil
}

func (n *known) note(key bpfSourceKey, tcp bool) {
	was, there := n.tcp[key]
	n.tcp[key] = was || tcp
	switch {
	case !there && !tcp:
		n.udp++
	case there && !was && tcp:
		n.udp--
	}
}

func (n *known) forget(key bpfSourceKey) {
	if tcp, there := n.tcp[key]; there && !tcp {
		n.udp--
	}
	delete(n.tcp, key)
}

func (n *known) size() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.tcp)
}

// Good says that a client was seen to have this address: bytes of a session, or enough of a flow, went both ways. It is cheap: the
// program hears of it within a second.
func (k *Path) Good(client netip.Addr, protocol plan.Protocol) {
	key := sourceKey(client)
	k.known.mu.Lock()
	defer k.known.mu.Unlock()
	if len(k.known.waiting) < maxKnown {
		k.known.waiting[key] = k.known.waiting[key] || protocol == plan.TCP
	}
}

func sourceKey(client netip.Addr) bpfSourceKey {
	return bpfSourceKey{Address: plan.ClientAddress(client).Addr().As16()}
}

// good enters the client of a session or flow of the kernel path, once it has shown that it is there.
func (k *Path) good(n *seen, s *bpfSession, clock uint64) {
	if n.good != 0 && clock-n.good < uint64(knownAgain) {
		return
	}
	c, o := &s.Side[client], &s.Side[originSide]
	if s.Protocol == protocolUDP {
		if s.Rounds < provenRounds || c.Packets < goodDatagrams || o.Packets < goodDatagrams || clock-min(clock, s.Started) < uint64(goodAfter) {
			return
		}
	} else if c.Flags&sideProven == 0 || c.Bytes == 0 || o.Bytes == 0 {
		return
	}
	n.good = clock
	k.Good(netip.AddrFrom16(c.Address), protocolOf(s))
}

// enterKnown tells the program of those that were found good, and from time to time forgets those that were not seen for long.
func (k *Path) enterKnown() error {
	n := &k.known
	n.mu.Lock()
	waiting := n.waiting
	n.waiting = make(map[bpfSourceKey]bool)
	n.mu.Unlock()
	clock := now()
	var failed error
	for key, tcp := range waiting {
		if value, room := n.value(key, tcp, clock); room {
			if err := k.objects.KnownSources.Put(key, value); err != nil {
				failed = fmt.Errorf("enter whom the shield knows: %w", err)
			}
		}
	}
	if time.Since(n.swept) < knownEvery {
		return failed
	}
	n.swept = time.Now()
	return errors.Join(failed, n.sweep(k.objects.KnownSources, clock))
}

// value is what to enter of a source, if there is room for it.
func (n *known) value(key bpfSourceKey, tcp bool, clock uint64) (value bpfKnown, room bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	was, there := n.tcp[key]
	tcp = tcp || was
	if !there && (len(n.tcp) >= maxKnown || !tcp && n.udp >= maxKnown/2) {
		return value, false
	}
	n.note(key, tcp)
	value.Seen = clock
	if tcp {
		value.Tcp = 1
	}
	return value, true
}

// sweep forgets who was not seen for a day; of a map that is nearly full, a tenth of all, those first that were seen longest ago.
func (n *known) sweep(table *ebpf.Map, clock uint64) error {
	type entry struct {
		key  bpfSourceKey
		seen uint64
	}
	var old, others []entry
	var key bpfSourceKey
	var value bpfKnown
	all := table.Iterate()
	for all.Next(&key, &value) {
		if e := (entry{key, value.Seen}); clock-min(clock, value.Seen) > uint64(knownFor) {
			old = append(old, e)
		} else {
			others = append(others, e)
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read whom the shield knows: %w", err)
	}
	if len(others) > maxKnown/10*9 {
		slices.SortFunc(others, func(a, b entry) int { return cmp.Compare(a.seen, b.seen) })
		old = append(old, others[:maxKnown/10]...)
	}
	for _, e := range old {
		if err := table.Delete(e.key); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("forget whom the shield knew: %w", err)
		}
		n.mu.Lock()
		n.forget(e.key)
		n.mu.Unlock()
	}
	return nil
}

// ShareFlow tells the shield of a flow of the user path, whose datagrams are then those of somebody who is here.
func (k *Path) ShareFlow(client, edge netip.AddrPort, state status.FlowState) {
	key := bpfTuple{
		Src: client.Addr().As16(), Dst: edge.Addr().As16(), Sport: bigEndian(client.Port()), Dport: bigEndian(edge.Port()), Protocol: protocolUDP,
	}
	var err error
	switch state {
	case status.FlowBegun:
		err = k.objects.UserFlows.Put(key, uint32(flowBegun))
	case status.FlowProven:
		err = k.objects.UserFlows.Put(key, uint32(flowProven))
	case status.FlowOver:
		if err = k.objects.UserFlows.Delete(key); errors.Is(err, ebpf.ErrKeyNotExist) {
			err = nil // there was no room for it
		}
	}
	if err != nil {
		k.options.Log.Debug("kernel path", "err", fmt.Errorf("tell the shield of a flow: %w", err)) // it is judged as one that begins
	}
}

func bigEndian(n uint16) uint16 { return n<<8 | n>>8 }

// forgetFlows forgets the flows of the user path of the last process, which ended with it.
func (k *Path) forgetFlows() error {
	var key bpfTuple
	var value uint32
	var gone []bpfTuple
	all := k.objects.UserFlows.Iterate()
	for all.Next(&key, &value) {
		gone = append(gone, key)
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read the flows of the last process: %w", err)
	}
	for _, key := range gone {
		if err := k.objects.UserFlows.Delete(key); err != nil {
			return fmt.Errorf("forget a flow of the last process: %w", err)
		}
	}
	return nil
}
