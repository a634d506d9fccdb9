package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Keeper is the number of the process that is the running lab and starts its children again, for tests that stop it.
func Keeper() (int, error) {
	holder, err := os.ReadFile(lockFile)
	if err != nil {
		return 0, fmt.Errorf("find the running lab: %w", err)
	}
	return strconv.Atoi(strings.TrimSpace(string(holder)))
}

// Child is the number of the process that the running lab has as `breakwater NAME`, for tests that kill it.
func Child(name string) (int, error) {
	keeper, err := Keeper()
	if err != nil {
		return 0, err
	}
	parent := strconv.Itoa(keeper)
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0, err
	}
	for _, dir := range dirs {
		line, _ := os.ReadFile(filepath.Join(dir, "cmdline")) // a process that ended has none
		args := strings.Split(string(line), "\x00")
		if len(args) > 1 && filepath.Base(args[0]) == "breakwater" && args[1] == name && parentOf(dir) == parent {
			return strconv.Atoi(filepath.Base(dir))
		}
	}
	return 0, fmt.Errorf("the lab runs no process breakwater %s", name)
}

// parentOf reads the fourth field of proc_pid_stat(5), behind the command in brackets. A process that only waits to be
// noticed as ended has none.
func parentOf(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "stat"))
	_, rest, _ := strings.Cut(string(text), ") ")
	fields := strings.Fields(rest)
	if len(fields) < 2 || fields[0] == "Z" {
		return ""
	}
	return fields[1]
}
