package proxy

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/origin"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// flow is the UDP traffic of one client and one edge address:port. It has one connected socket towards the origin,
// whose port is its identity there, and shares the socket that answers the client with all flows of the same edge
// address:port. A datagram is read here from receive to forward, and back from flowEvent to answer.
type flow struct {
	id       status.ID
	index    uint32
	gen      uint32
	key      flowKey
	service  *service
	target   origin.Target
	client   netip.AddrPort
	edge     netip.AddrPort
	to       sockaddr // client, as the kernel wants it
	started  int64    // worker clock, ns
	active   int64
	fd       int32 // connected to the origin
	reply    *replySocket
	header   []byte     // in front of datagrams to the origin
	source   netip.Addr // of the pool's; the zero Addr: what the route gave
	port     uint16     // source port to be quarantined; 0: the kernel chose
	headed   bool       // v2-first: the header is out
	queued   bool       // it stands in the worker's ready list
	sending  bool       // a datagram of it is in the ring
	answered bool       // the origin has answered since the client's last datagram
	rounds   uint8      // how often the client spoke after an answer
	wireIn   uint64     // bytes on the wire, while the client is unproven
	wireOut  uint64
	toOrigin uint64 // payload bytes
	toClient uint64

	datagrams [2]uint64 // to the origin, to the client
}

// flowKey is a flow's client and edge address, without pointers, so that large tables cost the collector nothing.
type flowKey struct {
	client, edge         [16]byte
	clientPort, edgePort uint16
}

func keyOf(client, edge netip.AddrPort) flowKey {
	return flowKey{client.Addr().As16(), edge.Addr().As16(), client.Port(), edge.Port()}
}

const (
	// datagramBatch is one turn of a listener; originBatch one of a flow.
	datagramBatch = 32
	originBatch   = 16
	// flowTurns is how many batches of one flow are taken before the others have their turn.
	flowTurns = 4
)

// receive takes one batch of datagrams from clients.
func (w *worker) receive(l *listener) {
	b := w.flows.in
	n, errno := b.receive(l.fd)
	if errno != 0 {
		return // EAGAIN, or the error of an answer sent earlier: nothing was received
	}
	if n > 1 && w.ring != nil {
		w.forwardTogether(b, n)
		return
	}
	table := w.engine.table.Load()
	for i := range n {
		if f := w.flowOf(table, b, i); f != nil {
			w.forward(f, b, i)
		}
	}
}

// flowOf is the flow of a datagram, perhaps a new one; nil: there is none for it, and that is counted.
func (w *worker) flowOf(table *table, b *batch, i int) *flow {
	client, edge := b.from(i), b.destination(i)
	if f := w.flows.find(keyOf(client, edge)); f != nil {
		return f
	}
	return w.newFlow(table, client, edge)
}

// newFlow opens a flow for a datagram of no flow, or counts why not.
func (w *worker) newFlow(table *table, client, edge netip.AddrPort) *flow {
	w.engine.catchUp()
	service, first := table.find(plan.UDP, edge)
	if reason := w.admitFlow(service, client.Addr(), table); reason != status.Normal {
		w.reasons.udp[reason].Add(1)
		return nil
	}
	target, why := service.pool.Pick(client.Addr(), edge.Port(), first)
	if target.Origin == nil {
		w.reasons.udp[why].Add(1)
		return nil
	}
	index, f, gen := w.flows.take(w.now + int64(service.Timeouts.IdleFlow(false)))
	*f = flow{
		id: w.newID(), index: index, gen: gen, key: keyOf(client, edge), service: service, target: target,
		client: client, edge: edge, started: w.now, active: w.now, fd: -1,
	}
	f.to.set(client)
	if reason := w.connectFlow(f); reason != status.Normal {
		w.reasons.udp[reason].Add(1)
		if reason == status.NoSourcePort && !service.Transparent {
			target.Origin.Portless(flowPorts(service))
		}
		w.releaseFlow(f)
		return nil
	}
	w.flows.add(f)
	w.engine.carry(0, 1)
	w.shareFlow(f, status.FlowBegun)
	shard := &service.stats.shards[w.number]
	shard.flows.Add(1)
	shard.flowsOpened.Add(1)
	if w.engine.events.wanted() {
		w.publish(status.Connect, w.flowRecord(f), 0)
	}
	return f
}

// admitFlow says why a new flow is not opened; Normal: it is. Flows that exist never come here, so a flood of new
// ones cannot hurt them.
func (w *worker) admitFlow(service *service, client netip.Addr, table *table) status.Reason {
	switch {
	case w.draining:
		return status.Shutdown
	case table.isEdge(client):
		return status.Bogon
	case w.engine.bans.Load().has(client):
		return status.Banned
	case service == nil:
		return status.NoService
	case len(service.Upstreams) > 0:
		return status.NotAnUpstream
	case w.engine.flowsFull(table.limits):
		return status.FlowLimit
	case service.Limits.MaxFlows > 0 && service.stats.flows()+service.stats.otherFlows.Load() >= int64(service.Limits.MaxFlows):
		return status.ServiceLimit
	case w.flows.perSource[sourceOf(client)] >= w.share(table.limits.MaxFlowsPerSource):
		return status.SourceLimit
	case !w.flows.rate.take(w.now, table.limits.NewFlowsPerSec, len(w.engine.workers)):
		return status.RateLimit
	case service.Limits.NewFlowsPerSec > 0 && !w.serviceRate(service).take(w.now, service.Limits.NewFlowsPerSec, len(w.engine.workers)):
		return status.RateLimit
	}
	return status.Normal
}

// connectFlow opens the socket towards the origin and finds the one towards the client.
func (w *worker) connectFlow(f *flow) status.Reason {
	var err error
	if f.header, err = f.makeHeader(); err != nil {
		return status.Internal
	}
	target := f.target.Addr
	n, errno := socket(family(target.Addr()), unix.SOCK_DGRAM)
	if errno != 0 {
		return connectReason(errno)
	}
	f.fd = int32(n) //nolint:gosec // fd
	if errno = w.bindFlow(f); errno == 0 {
		errno = connect(n, target)
	}
	if errno == 0 {
		errno = epollAdd(w.epoll, f.fd, unix.EPOLLIN|unix.EPOLLET&0xffffffff, token{kindFlow, f.index, f.gen})
	}
	if errno == 0 {
		f.reply, errno = w.flows.replyFrom(f.edge)
	}
	if errno != 0 {
		return connectReason(errno)
	}
	return status.Normal
}

// bindFlow gives the socket its source address and port.
func (w *worker) bindFlow(f *flow) unix.Errno {
	fd, v6 := int(f.fd), f.target.Addr.Addr().Unmap().Is6()
	if f.header != nil {
		// Our header must not make a datagram so large that it is cut: the send fails and is counted instead.
		setDontFragment(fd, v6)
	}
	if f.service.Transparent {
		return bindTransparent(fd, f.client, f.target.Addr.Addr())
	}
	return w.fromSourceAddresses(f.service, f.target.Addr.Addr(), func(source netip.Addr) unix.Errno {
		f.source = source
		switch {
		case f.service.UDPHeader == plan.UDPV2First:
			return w.bindQuarantined(f)
		case source.IsValid():
			return bind(fd, netip.AddrPortFrom(source, 0))
		}
		return 0
	})
}

func setDontFragment(fd int, v6 bool) {
	if v6 {
		_ = setOption(fd, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
		return
	}
	_ = setOption(fd, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
}

// makeHeader is what goes in front of the flow's datagrams. It is made once: no allocation for a datagram.
func (f *flow) makeHeader() ([]byte, error) {
	switch f.service.UDPHeader {
	case plan.UDPV2Each, plan.UDPV2First:
		tlvs := header.TLVs{CRC32C: f.service.TLVs.CRC32C}
		if f.service.TLVs.UniqueID {
			tlvs.UniqueID = []byte(f.id.String())
		}
		return header.V2(plan.UDP, f.client, f.edge, tlvs)
	case plan.UDPSPP:
		spp := header.SPP(f.client, f.edge)
		return spp[:], nil
	case plan.UDPNone:
	}
	return nil, nil
}

// forward gives datagram i of the batch to the origin.
func (w *worker) forward(f *flow, b *batch, i int) {
	_, errno := write(f.fd, w.outgoing(f, b, i))
	w.forwarded(f, len(b.payload(i)), errno)
}

// outgoing is datagram i as the origin is to get it. It counts as heard.
func (w *worker) outgoing(f *flow, b *batch, i int) []byte {
	f.active = w.now
	w.heard(f, len(b.payload(i)))
	if f.header != nil && !(f.headed && f.service.UDPHeader == plan.UDPV2First) {
		return b.withHeader(i, f.header)
	}
	return b.payload(i)
}

// forwarded is what became of a datagram of size bytes.
func (w *worker) forwarded(f *flow, size int, errno unix.Errno) {
	if errno != 0 {
		w.flowError(f, errno)
		return
	}
	f.headed = true
	f.toOrigin += uint64(size) //nolint:gosec // not negative
	f.datagrams[0]++
	shard := &f.service.stats.shards[w.number]
	shard.bytesToOrigin.Add(uint64(size)) //nolint:gosec // not negative
	shard.datagramsToOrigin.Add(1)
}

// flowError counts a datagram that did not leave, and ends the flow when the origin refuses it: the client's next
// datagram then begins a new one, with a new header and perhaps another origin.
func (w *worker) flowError(f *flow, errno unix.Errno) {
	switch errno {
	case unix.EAGAIN, unix.EINTR, unix.ENOBUFS, unix.ENOMEM:
		w.reasons.udp[status.Congested].Add(1)
	case unix.EMSGSIZE:
		w.reasons.udp[status.Oversize].Add(1)
	default:
		reason := connectReason(errno)
		if originFailed(errno) {
			f.target.Origin.Failed(reason)
		}
		w.endFlow(f, reason)
	}
}

// endFlow ends a flow that is in the table.
func (w *worker) endFlow(f *flow, reason status.Reason) {
	w.reasons.udp[reason].Add(1)
	if w.engine.events.wanted() {
		w.publish(status.Disconnect, w.flowRecord(f), reason)
	}
	f.service.stats.shards[w.number].flows.Add(-1)
	w.engine.carry(0, -1)
	w.flows.remove(f)
	w.shareFlow(f, status.FlowOver)
	w.good(f)
	w.releaseFlow(f)
}

// releaseFlow gives everything of a flow back.
func (w *worker) releaseFlow(f *flow) {
	if f.fd >= 0 {
		closeFD(f.fd)
	}
	if f.port != 0 {
		w.engine.sourcePorts.giveBack(f.way(), f.port, w.now)
	}
	if f.reply != nil {
		w.flows.dropReply(f.reply)
	}
	f.target.Origin.Release()
	w.flows.release(f.index)
}

func (w *worker) sweepFlows() {
	w.flows.sweep(w.now, func(_ uint32, f *flow) int64 {
		if due := f.active + int64(f.service.Timeouts.IdleFlow(f.rounds >= provenRounds)); due > w.now {
			return due
		}
		w.endFlow(f, status.Normal)
		return 0
	})
}

// flowRecord is the flow as status tells it.
func (w *worker) flowRecord(f *flow) status.Session {
	return status.Session{
		ID: f.id, Protocol: plan.UDP, Path: plan.PathUser, Service: f.service.Name, Client: f.client, Edge: f.edge,
		Origin: f.target.Origin.Name(), OriginAddress: f.target.Addr, Started: w.wallTime(f.started), State: "open",
		Idle:          time.Duration(w.now - f.active).Seconds(),
		BytesToOrigin: f.toOrigin, BytesToClient: f.toClient,
	}
}
