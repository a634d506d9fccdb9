package settings

import (
	"slices"
	"strings"
)

// Dangerous tells whether going from old to new can cut the operator off: where clients arrive, who may reach the page
// and how, or the network of the machine is not the same any more. Such a change must be kept from a browser that reached the box after it.
func Dangerous(old, new Settings) bool {
	return slices.ContainsFunc(Diff(old, new), func(c Change) bool {
		return strings.HasPrefix(c.Field, "edge.") || strings.HasPrefix(c.Field, "management.") ||
			strings.HasPrefix(c.Field, "host.") && c.Field != "host.timeServers"
	})
}
