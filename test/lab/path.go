package lab

import (
	"os"

	"breakwater/appliance/settings"
)

// pathVariable names the engine that end-to-end tests run on: kernel, user.
const pathVariable = "BREAKWATER_PATH"

// OnPath puts those services of a test's document that name no path on the one that BREAKWATER_PATH names, so that a
// suite can run once for each engine. What only the user path can do stays on it.
func OnPath(services []settings.Service) {
	path := os.Getenv(pathVariable)
	for i, s := range services {
		onlyUser := len(s.HeaderTLVs) > 0 || len(s.Upstreams) > 0
		if s.Path == "" && !(path == "kernel" && onlyUser) {
			services[i].Path = path
		}
	}
}
