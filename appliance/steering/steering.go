// Package steering brings packets to the transparent listeners: every TCP and UDP port of the edge addresses, as
// it arrives on the edge interfaces, and nothing else.
//
//	s, err := steering.New(log)
//	err = s.Apply(plan.Steering{Interfaces: []string{"wan0"}, Addresses: edge})
//	repaired, err := s.Check() // every few seconds
//	err = s.Clear()
//
// # The way of a packet
//
//	          mangle PREROUTING                                              routing
//	wan0 ──▶ BREAKWATER-STEER ──▶ a session's packet: BREAKWATER-DIVERT ──▶ the kernel finds the socket itself
//	                          ──▶ new, to an edge address: BREAKWATER-TPROXY ──▶ mark ──▶ rule 183: table 183 ──▶ listener
//	else ──▶ BREAKWATER-STEER ──▶ to an edge address: drop
//
// The invariant: a packet to an edge address reaches a transparent socket, the ICMP code of the kernel, or
// nothing. BREAKWATER-TPROXY ends in DROP (xt_TPROXY drops without a socket by itself, its nftables brother falls
// through), and so does BREAKWATER-STEER for edge addresses by another interface or from the box itself.
//
// # What is in the kernel
//
//   - Rules: a fixed skeleton of a dozen for each family, one more for each edge interface. They are written with
//     the iptables command, whichever backend the system has (Debian: nf_tables; the legacy one works as well).
//     There is no rule for an address: addresses are in an ipset, so that 1,000 of them cost a packet one hash
//     lookup and Apply a netlink message each instead of a process. Seen on two slow cores: 1,000 addresses applied
//     in 0.14 s and checked in 0.03 s; 100 rules by iptables take 0.4 s.
//   - No nat table and no ct match, so that connection tracking stays off on this path. TPROXY and socket
//     matches do load defragmentation: fragments are whole before they are looked at.
//   - One rule and one table with `local default dev lo` for each family: a marked packet is for the box,
//     whatever its destination.
//   - Edge addresses: see addresses.go.
//   - Everything of ours carries the name BREAKWATER or the protocol number 183; there is no state file.
//
// # Sysctls
//
//	rp_filter       edge interfaces   to 2 (loose) where 1 (strict) is in force, as a client may come in by another
//	                                  uplink than the one the answer takes. The kernel uses the larger of "all" and
//	                                  the interface. Not restored: what it was before is written nowhere.
//	src_valid_mark  all, edge         must be 0, whatever rp_filter is: otherwise the source of a marked packet is looked
//	                                  up in our table, looks like our own, and is dropped. Apply refuses.
//	route_localnet  -                 stays 0: TPROXY hands over the socket, the packet is never sent to 127.0.0.1.
//	ip_nonlocal_bind, ip_forward      stay 0: IP_TRANSPARENT sockets need neither.
//
// # Who owns what
//
// Steering owns its kernel objects while the process runs, under its mutex. Sockets are the proxy's.
package steering

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/coreos/go-iptables/iptables"

	"breakwater/appliance/plan"
)

// Steering keeps the kernel as the plan wants it. It is safe for concurrent use.
type Steering struct {
	log    *slog.Logger
	tables [families]*iptables.IPTables

	mu      sync.Mutex
	current *plan.Steering // as last applied; nil: nothing yet
	// write makes one change in the kernel. It is the place where tests count, or stop half-way.
	write func(step) error
}

// step is one change of one kernel object.
type step struct {
	text string // what it does, as Check reports it: "add address 203.0.113.10 to wan0"
	run  func() error
}

// New finds the iptables commands. It changes nothing.
func New(log *slog.Logger) (*Steering, error) {
	s := &Steering{log: log, write: func(st step) error { return st.run() }}
	for f := range families {
		proto := iptables.ProtocolIPv4
		if f == ipv6 {
			proto = iptables.ProtocolIPv6
		}
		t, err := iptables.New(iptables.IPFamily(proto), iptables.Timeout(lockSeconds))
		if err != nil {
			return nil, fmt.Errorf("look for %s: %w", f.command(), err)
		}
		s.tables[f] = t
	}
	return s, nil
}

// Apply makes the kernel as c wants it: it reads what is there, computes the difference and changes only that.
// A second Apply changes nothing. What c cannot have (an interface that does not exist, a prefix with the box's
// own gateway in it) is refused before anything is changed.
//
// The new is opened before the old is closed, and within that protection comes first: when an address begins to
// exist on the box, the rules that keep local services from it are already there. So after an error half-way, or a
// kill, the former addresses still work and no door is open. Apply then goes back to the former plan as well as it
// can; what it cannot, the next Apply or Check repairs, as both start from what they find.
func (s *Steering) Apply(c plan.Steering) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.observe()
	if err != nil {
		return err
	}
	if err := o.accepts(c); err != nil {
		return err
	}
	done, err := s.settle(o, c)
	if err == nil {
		s.current = &c
		return nil
	}
	if len(done) == 0 {
		return err
	}
	return errors.Join(err, s.goBack())
}

// goBack makes the kernel as it was before an Apply that ended half-way.
func (s *Steering) goBack() error {
	var former plan.Steering
	if s.current != nil {
		former = *s.current
	}
	o, err := s.observe()
	if err == nil {
		_, err = s.settle(o, former)
	}
	if err != nil {
		return fmt.Errorf("go back to the former steering: %w", err)
	}
	return nil
}

// Check compares the kernel with the plan last applied and repairs it. It returns what it had to do, in words.
// Before the first Apply it does nothing. When the box has changed so that the plan would be refused now (an edge
// interface is gone), Check says so in its error and still repairs the rest.
func (s *Steering) Check() (repaired []string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current == nil {
		return nil, nil
	}
	o, err := s.observe()
	if err != nil {
		return nil, err
	}
	unfit := o.accepts(*s.current)
	repaired, err = s.settle(o, *s.current)
	return repaired, errors.Join(unfit, err)
}

// Clear removes everything of ours from the kernel, from any state: half applied, or left by another process.
// The empty built-in chains that the nf_tables backend of iptables makes on first use stay: they are not ours.
func (s *Steering) Clear() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.observe()
	if err != nil {
		return err
	}
	if _, err := s.settle(o, plan.Steering{}); err != nil {
		return err
	}
	s.current = nil
	return nil
}

// Clear is the method of the same name for a process that steers nothing itself.
func Clear() error {
	s, err := New(slog.Default())
	if err != nil {
		return err
	}
	return s.Clear()
}

// settle takes the kernel from o to what c wants and returns the steps it took, in words; with an error, those
// before it.
func (s *Steering) settle(o observed, c plan.Steering) ([]string, error) {
	steps, err := s.difference(o, compile(c, o.ownAddresses()))
	if err != nil {
		return nil, err
	}
	var done []string
	for _, st := range steps {
		if err := s.write(st); err != nil {
			return done, fmt.Errorf("%s: %w", st.text, err)
		}
		s.log.Debug("steering", "step", st.text)
		done = append(done, st.text)
	}
	return done, nil
}
