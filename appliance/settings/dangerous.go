package settings

import (
	"slices"
	"strings"
)

// Dangerous tells whether going from old to new can cut the operator off: where clients arrive, who may reach the page
// and how, whom the shield turns away, or the network of the machine is not the same any more. Such a change must be kept from a browser that reached the box after it.
func Dangerous(old, new Settings) bool {
	return slices.ContainsFunc(Diff(old, new), func(c Change) bool {
		return turnsAway(c, new) || strings.HasPrefix(c.Field, "edge.") || strings.HasPrefix(c.Field, "management.") ||
			strings.HasPrefix(c.Field, "host.") && c.Field != "host.timeServers"
	})
}

// turnsAway tells whether a change is about clients that the shield turns away, and the operator may be one of them: where there are
// management networks, they are let in whatever it says.
func turnsAway(c Change, new Settings) bool {
	if len(new.Management.Networks) > 0 {
		return false
	}
	for _, field := range []string{"shield.deny", "shield.lists", "shield.networks", "shield.countries"} {
		if strings.HasPrefix(c.Field, field) {
			return true
		}
	}
	return false
}
