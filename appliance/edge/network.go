package edge

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/status"
	"breakwater/appliance/steering"
)

// routersAge is how old the list of gateways may be. Routes may be a million, and status is asked for every second.
const routersAge = 15 * time.Second

// routers are the gateways as last seen.
type routers struct {
	mu   sync.Mutex
	at   time.Time
	list []netip.Addr
}

func (r *routers) now() (list []netip.Addr, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) > routersAge {
		if list, err = steering.Gateways(); err == nil {
			r.list, r.at = list, time.Now()
		}
	}
	return append([]netip.Addr{}, r.list...), err
}

// observeNetwork fills in interfaces and gateways. A kernel that does not tell is a condition, not a status without an
// answer.
func (e *Edge) observeNetwork(into *status.Edge) {
	var err, routersErr error
	into.Interfaces, err = steering.Interfaces()
	into.Gateways, routersErr = e.routers.now()
	if err = errors.Join(err, routersErr); err != nil {
		e.conditions.Raise(health.Condition{Code: "network-unknown", Severity: health.Info,
			Title: "The network interfaces cannot be listed", Detail: err.Error() + "."})
		return
	}
	e.conditions.Clear("network-unknown", "")
}

// protectOwn tells the shield what no rule may turn away: the box's own addresses and its routers.
func (e *Edge) protectOwn(own []netip.Addr) {
	if e.path == nil {
		return
	}
	routers, err := e.routers.now() // what was seen last when there is an error, which observeNetwork tells
	if err != nil {
		e.options.Log.Warn("list the gateways", "err", err)
	}
	var list []netip.Prefix
	for _, a := range slices.Concat(own, routers) {
		a = a.Unmap().WithZone("")
		list = append(list, netip.PrefixFrom(a, a.BitLen()))
	}
	slices.SortFunc(list, netip.Prefix.Compare)
	e.path.SetOwn(slices.Compact(list))
}
