package steering

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Way is the way to an address, by the routing table.
type Way struct {
	Interface int        // index
	Source    netip.Addr // what the box calls itself there
}

var errNoWay = errors.New("the address is the box's own, or unreachable")

// RouteTo tells the way to an address that is not the box's own.
func RouteTo(to netip.Addr) (Way, error) {
	routes, err := netlink.RouteGet(to.Unmap().AsSlice())
	if err != nil {
		return Way{}, fmt.Errorf("look for the route to %s: %w", to, err)
	}
	for _, r := range routes {
		source, ok := netip.AddrFromSlice(r.Src)
		if r.Type == unix.RTN_UNICAST && ok && r.LinkIndex > 0 {
			return Way{Interface: r.LinkIndex, Source: source.Unmap()}, nil
		}
	}
	return Way{}, fmt.Errorf("look for the route to %s: %w", to, errNoWay)
}
