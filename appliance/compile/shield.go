package compile

import (
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

func shield(s settings.Shield) plan.Shield {
	return plan.Shield{Mode: plan.ShieldMode(s.Mode)}
}
