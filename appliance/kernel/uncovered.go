package kernel

import "breakwater/appliance/health"

const noShield = "no-shield"

// tellUncovered raises a condition when the shield is not where it should be.
func (k *Path) tellUncovered(err error) {
	if err == nil {
		k.options.Conditions.Clear(noShield, "")
		return
	}
	k.options.Conditions.Raise(health.Condition{
		Code: noShield, Severity: health.Critical, Title: "The shield is not at every edge interface",
		Detail: "What is hostile reaches the kernel there: " + err.Error() + ". If another XDP program is at the interface, remove it; this is tried again every few seconds.",
	})
}
