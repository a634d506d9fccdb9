package kernel

import (
	"errors"
	"maps"
	"net/netip"

	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
)

// tables are the contents of the program's tables for one plan.
type tables struct {
	addresses map[netip.Prefix]uint32 // to a set of ports
	sets      []portSet
	pages     []portPage
	routes    []bpfRoute
	services  []bpfService
	guards    []bpfGuard // in the order of services
	rules     []bpfPacketRule
	pools     []bpfPool
	members   []bpfMember
	turns     []uint32

	limits     bpfSourceLimits
	crowds     map[string]crowdOf        // by name of a service
	timeouts   map[uint32]plan.Timeouts  // by number of a service
	origins    map[uint32]*origin.Origin // by number
	interfaces []int                     // that origins are behind
	tunnels    []string                  // as interfaces, where the program cannot be
}

// The numbers of bpf/layout.h.
const (
	pathTCP, pathUDP = 1, 2

	headerNone, headerV1, headerV2, headerSPP = 0, 1, 2, 3

	choiceHash, choiceTurns, choiceLeast = 0, 1, 2

	memberNo, memberYes, memberTry = 0, 1, 2
)

// build makes the tables of a plan.
func (k *Path) build(p *plan.Plan) (tables, error) {
	t := tables{timeouts: make(map[uint32]plan.Timeouts)}
	maps.Copy(t.timeouts, k.tables.timeouts) // sessions may have services that are gone
	t.buildRoutes(p)
	for i := range p.Services {
		s := &p.Services[i]
		number, err := k.names.of(kindService, s.Name)
		if err != nil {
			return tables{}, err
		}
		t.timeouts[number] = s.Timeouts
		t.services = append(t.services, serviceEntry(s, number))
	}
	k.buildCrowds(p, &t)
	t.limits = sourceLimits(&p.Limits)
	return t, errors.Join(k.buildGuards(p, &t), k.buildPools(p, &t))
}

// carries tells which protocols of a service need no look at bytes.
func carries(s *plan.Service) (path uint8) {
	if s.Path == plan.PathUser || len(s.Upstreams) > 0 || s.TLVs != (plan.TLVs{}) {
		return 0
	}
	return pathTCP | pathUDP
}

func serviceEntry(s *plan.Service, number uint32) bpfService {
	e := bpfService{
		Number: number, Pool: uint32(s.Pool), //nolint:gosec // Check bounds it
		MaxSessions: limit(s.Limits.MaxSessions), MaxFlows: limit(s.Limits.MaxFlows), NewFlows: limit(s.Limits.NewFlowsPerSec),
		MaxPerAddress: limit(s.Limits.MaxSessionsPerAddress), MaxPerNetwork: limit(s.Limits.MaxSessionsPerNetwork),
		NewPerAddress: limit(s.Limits.NewSessionsPerAddress),
		Amplification: min(limit(s.Limits.MaxAmplification), 65535), Path: carries(s),
	}
	switch s.TCPHeader {
	case plan.TCPV1:
		e.TcpHeader = headerV1
	case plan.TCPV2:
		e.TcpHeader = headerV2
	case plan.TCPNone:
	}
	switch s.UDPHeader {
	case plan.UDPV2Each:
		e.UdpHeader = headerV2
	case plan.UDPV2First:
		e.UdpHeader = headerV2
		e.Flags |= sessionFirstOnly
	case plan.UDPSPP:
		e.UdpHeader = headerSPP
	case plan.UDPNone:
	}
	if s.Transparent {
		e.Flags |= sessionTransparent
	}
	return e
}

// limit writes a limit as the program knows it: 0 is none.
func limit(n int) uint32 { return uint32(min(max(n, 0), 1<<31)) } //nolint:gosec // bounded
