package main

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// machine is where a run took place: figures of one do not compare with those of another.
type machine struct {
	CPU      string            `json:"cpu"`
	Cores    int               `json:"cores"`
	Core     int               `json:"core"` // the measured one
	Virtual  bool              `json:"virtual"`
	Kernel   string            `json:"kernel"`
	Realtime bool              `json:"realtime"` // tasks ran under SCHED_RR
	Versions map[string]string `json:"versions"`
}

func (m machine) String() string {
	kind := "bare metal"
	if m.Virtual {
		kind = "virtual machine"
	}
	parts := []string{fmt.Sprintf("%s, %d cores, %s, Linux %s", m.CPU, m.Cores, kind, m.Kernel)}
	for _, name := range slices.Sorted(maps.Keys(m.Versions)) {
		if m.Versions[name] != "" {
			parts = append(parts, name+": "+m.Versions[name])
		}
	}
	return strings.Join(parts, "; ") + "."
}

// lookAround describes this machine. What cannot be told stays empty.
func lookAround(core int, realtime bool, breakwater string) machine {
	m := machine{Cores: runtime.NumCPU(), Core: core, Realtime: realtime, Versions: map[string]string{
		"go":         runtime.Version(),
		"haproxy":    firstLine("haproxy", "-v"),
		"nginx":      firstLine("nginx", "-v"),
		"breakwater": firstLine(breakwater, "version"),
	}}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	info, _ := os.ReadFile("/proc/cpuinfo") // an empty model is shown as such
	for line := range strings.Lines(string(info)) {
		key, value, _ := strings.Cut(line, ":")
		switch strings.TrimSpace(key) {
		case "model name":
			m.CPU = strings.TrimSpace(value)
		case "flags":
			m.Virtual = strings.Contains(value, " hypervisor")
		}
	}
	return m
}

func firstLine(name string, args ...string) string {
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return ""
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line)
}
