package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"breakwater/appliance/host"
)

type versionCmd struct{}

func (versionCmd) Run(e *env) error {
	_, err := fmt.Fprintln(e.stdout, "breakwater", version())
	return err
}

// devel is the version of a program that has none.
const devel = "(devel)"

// version is the tag or commit that the Go toolchain found when it built this program.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return devel
	}
	return info.Main.Version
}

// build tells this program from every other version of it, for what is to be forgotten with an update: the version of the
// image, or of the program. One that has none, as it was built outside of a repository, is known by its age.
func build() string {
	if v := host.ReadSystem("/").Version; v != "" {
		return v
	}
	if v := version(); v != devel {
		return v
	}
	self, err := os.Executable()
	if err != nil {
		return devel
	}
	info, err := os.Stat(self)
	if err != nil {
		return devel
	}
	return info.ModTime().UTC().Format(time.RFC3339Nano)
}
