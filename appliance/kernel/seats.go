package kernel

import (
	"errors"
	"net"

	"breakwater/appliance/plan"
)

// seats are where the shield is to be, by index of an interface.
type seats struct {
	at      map[int]string // names of those that get the program
	vlans   map[int]seat   // whose frames it sees at an interface below them
	tunnels map[int]string // where it cannot be
}

// seat is a VLAN, and the interface below it that has the program.
type seat struct {
	name  string
	below int
}

// seatsOf finds a place for the shield at each edge interface. A VLAN whose port is of the edge as well needs none of its own: frames of
// its clients would be judged and counted twice, and the kernel gives a program to no interface below one that has it.
func seatsOf(p *plan.Plan) seats {
	s := seats{at: make(map[int]string), vlans: make(map[int]seat), tunnels: make(map[int]string)}
	if p.Shield.Mode == plan.ShieldOff {
		return s
	}
	edge := make(map[string]int)
	for _, name := range p.Steering.Interfaces {
		i, err := net.InterfaceByName(name)
		switch {
		case err != nil: // steering says so
		case ethernet(i):
			edge[name] = i.Index
		case tunnel(i):
			s.tunnels[i.Index] = name
		}
	}
	parents := parentsOfVLANs()
	for name, index := range edge {
		below := 0
		for up := parents[name]; up != ""; up = parents[up] {
			if i, is := edge[up]; is {
				below = i // the lowest counts
			}
		}
		if below == 0 {
			s.at[index] = name
		} else {
			s.vlans[index] = seat{name, below}
		}
	}
	return s
}

// coverInterfaces brings the shield to the edge interfaces and takes it from others.
func (k *Path) coverInterfaces(p *plan.Plan) error {
	s := seatsOf(p)
	failed := []error{k.uncoverOthers(s.at)} // first, for what is below a VLAN that had it
	k.keepTags(s)
	for index, name := range s.at {
		failed = append(failed, k.cover(index, name))
	}
	for index := range k.shield.modes { // also of those where it never was
		if s.at[index] == "" {
			delete(k.shield.modes, index)
		}
	}
	for index, name := range s.tunnels {
		k.shield.modes[index] = xdpMode{none, whyTunnel, name}
	}
	for index, v := range s.vlans {
		mode := k.shield.modes[v.below]
		mode.iface = v.name
		k.shield.modes[index] = mode
	}
	return errors.Join(failed...)
}
