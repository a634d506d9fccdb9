package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"breakwater/appliance/health"
	"breakwater/appliance/status"
)

const (
	originsName = "origins"
	leftName    = "left"
	// UnhealthyName is the file of the update directory in which a version on trial says why it is not healthy.
	UnhealthyName = "unhealthy"
)

// Unhealthy is why a version was not found healthy. It is written by that version and read by the one before it.
type Unhealthy struct {
	Version string `json:"version"`
	Reason  string `json:"reason"`
}

// trial is what a version on trial is held to.
type trial struct {
	Version string   `json:"version"`
	Origins []string `json:"origins"` // that were up when it was told to start
}

// noteOrigins writes down which origins are up, for the version that starts next. Those that nothing checks say nothing.
func (u *updates) noteOrigins(ctx context.Context, version string) {
	err := func() error {
		seen, err := u.c.edge.Status(ctx)
		if err != nil {
			return err
		}
		t := trial{Version: version}
		eachOrigin(seen, func(name string, o status.Origin) {
			if provenUp(o) {
				t.Origins = append(t.Origins, name)
			}
		})
		content, err := json.Marshal(t)
		if err != nil {
			return err
		}
		return os.WriteFile(u.path(originsName), content, 0o600)
	}()
	if err != nil {
		u.c.log.Error("note which origins are up before a new version", "err", err)
	}
}

// provenUp tells whether a check has found an origin up. It is taken for up before that, and while the first ones fail.
func provenUp(o status.Origin) bool { return o.Up && o.Checks > o.Failures }

func eachOrigin(seen status.Edge, each func(name string, o status.Origin)) {
	for _, pool := range seen.Pools {
		for _, o := range pool.Origins {
			each(pool.Name+"/"+o.Name, o)
		}
	}
}

// missing are the origins that were up before the restart into the version that runs, while none of them is up. One
// that the settings no longer have is not missed. The note is for one version, and for what it does not say nothing is
// asked: a box must not give up a version because of a file.
func (u *updates) missing(ctx context.Context) []string {
	var t trial
	none := []string{}
	content, err := os.ReadFile(u.path(originsName))
	if err != nil || json.Unmarshal(content, &t) != nil || t.Version != u.System().Version {
		return none
	}
	seen, err := u.c.edge.Status(ctx)
	if err != nil {
		return none // which is told otherwise
	}
	list, up := none, false
	eachOrigin(seen, func(name string, o status.Origin) {
		if slices.Contains(t.Origins, name) {
			list, up = append(list, name), up || provenUp(o)
		}
	})
	if up {
		return none
	}
	return list
}

// tellInstalled tells that a restart starts another version.
func (u *updates) tellInstalled(version string) {
	u.c.conditions.Raise(health.Condition{Code: "update-installed", Severity: health.Info, Title: "Version " + version + " is installed",
		Detail: "It starts at the next restart. If it is not found healthy in three starts, the version that runs now comes back by itself."})
}

// noteLeft writes down which version is left for the other one, by choice. Nothing that the boot loader leaves tells
// that from one that was given up.
func (u *updates) noteLeft() {
	if err := os.WriteFile(u.path(leftName), []byte(u.System().Version), 0o600); err != nil {
		u.c.log.Error("note which version is left by choice", "err", err)
	}
}

// tellGivenUp tells of a newer version that is not started, and why as far as it said so itself.
func (u *updates) tellGivenUp() {
	runs := u.System()
	for _, version := range runs.Failed {
		if left, err := os.ReadFile(u.path(leftName)); err == nil && string(left) == version {
			u.c.conditions.Raise(health.Condition{Code: "update-left", Subject: version, Severity: health.Info, Title: "A newer version is there and not started",
				Detail: fmt.Sprintf("Somebody chose version %s in its place. It starts again when it is chosen under System, Power.", runs.Version)})
			continue
		}
		why := "It was started and did not come far enough to say what was wrong, or the one that runs was chosen instead"
		if said, err := u.unhealthy(); err == nil && said.Version == version {
			why = "It was started and never found healthy, and said: " + strings.TrimSuffix(said.Reason, ".")
		} else if err != nil && !errors.Is(err, os.ErrNotExist) {
			u.c.log.Error("read why a version was given up", "err", err)
		}
		u.c.conditions.Raise(health.Condition{Code: "update-given-up", Subject: version, Severity: health.Warning, Title: "A newer version was given up",
			Detail: fmt.Sprintf("%s. Version %s runs, with the settings as they were. Install a newer version, or try this one once more under System, Power.", why, runs.Version)})
	}
}

func (u *updates) unhealthy() (said Unhealthy, err error) {
	content, err := os.ReadFile(u.path(UnhealthyName))
	if err != nil {
		return said, err
	}
	return said, json.Unmarshal(content, &said)
}
