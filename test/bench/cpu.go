package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CPU time is the unit of the bench: how long the tasks under test ran on the one core they share. With one core
// the softirq work of a veth runs inside these tasks, or in that core's ksoftirqd, which is counted too.
// Not counted: children that have ended, such as the iptables that breakwater's drift check runs every few seconds.
// (fs/proc/base.c proc_pid_schedstat: the first field is the run time in ns)

var errEnded = errors.New("it has ended")

// taskRunTime is the run time of all threads of a process, in ns; errEnded when there is no such process.
func taskRunTime(pid int) (int64, error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil || len(files) == 0 {
		return 0, fmt.Errorf("read the run time of process %d: %w", pid, errEnded)
	}
	var sum int64
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // the thread ended
		}
		if err != nil {
			return 0, fmt.Errorf("read run time: %w", err)
		}
		first, _, _ := strings.Cut(string(b), " ")
		ns, err := strconv.ParseInt(first, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse %s: %w", file, err)
		}
		sum += ns
	}
	return sum, nil
}

// runTime is the sum over several processes. One that has ended was a child of a moment; that a proxy itself has
// ended is noticed by its own means.
func runTime(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		ns, err := taskRunTime(pid)
		if err != nil && !errors.Is(err, errEnded) {
			return 0, err
		}
		sum += ns
	}
	return sum, nil
}

// family is a process with its children, such as nginx's workers.
func family(pid int) []int {
	pids := []int{pid}
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid)) // the pattern is valid
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for field := range strings.FieldsSeq(string(b)) {
			if child, err := strconv.Atoi(field); err == nil {
				pids = append(pids, family(child)...)
			}
		}
	}
	return pids
}

// kernelThread finds a kernel thread by its name, such as ksoftirqd/1.
func kernelThread(name string) (int, error) {
	files, _ := filepath.Glob("/proc/[0-9]*/comm") // the pattern is valid
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err == nil && strings.TrimSpace(string(b)) == name {
			return strconv.Atoi(filepath.Base(filepath.Dir(file)))
		}
	}
	return 0, fmt.Errorf("find kernel thread %s: not there", name)
}

// bindThread binds one thread (0: this one) to a core.
func bindThread(tid, core int) error {
	var set unix.CPUSet
	set.Set(core)
	if err := unix.SchedSetaffinity(tid, &set); err != nil {
		return fmt.Errorf("bind to core %d: %w", core, err)
	}
	return nil
}

// bind puts all threads of a process on a core, under SCHED_RR if realtime says so: then other work on a shared
// machine does not run between ours. Threads made later inherit both.
func bind(pid, core int, realtime bool) error {
	return eachThread(pid, func(tid int) error {
		if err := bindThread(tid, core); err != nil || !realtime {
			return err
		}
		return setRoundRobin(tid)
	})
}

func eachThread(pid int, f func(tid int) error) error {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
		return nil // the process ended, and its threads with it
	}
	if err != nil {
		return fmt.Errorf("list threads of %d: %w", pid, err)
	}
	for _, entry := range entries {
		tid, err := strconv.Atoi(entry.Name())
		if err != nil {
			return fmt.Errorf("thread number: %w", err)
		}
		if err := f(tid); err != nil && !errors.Is(err, unix.ESRCH) {
			return err
		}
	}
	return nil
}

func setRoundRobin(tid int) error {
	attr := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_RR, Priority: 1}
	if err := unix.SchedSetAttr(tid, &attr, 0); err != nil {
		return fmt.Errorf("set SCHED_RR: %w", err)
	}
	return nil
}

// coreTimes are the ticks a core has spent, of /proc/stat (proc_stat(5)).
type coreTimes struct{ total, steal int64 }

func readCoreTimes(core int) (coreTimes, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return coreTimes{}, fmt.Errorf("read core times: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 9 || fields[0] != fmt.Sprintf("cpu%d", core) {
			continue
		}
		var t coreTimes
		for i, field := range fields[1:9] {
			ticks, err := strconv.ParseInt(field, 10, 64)
			if err != nil {
				return coreTimes{}, fmt.Errorf("parse core times: %w", err)
			}
			t.total += ticks
			if i == 7 {
				t.steal = ticks
			}
		}
		return t, nil
	}
	return coreTimes{}, fmt.Errorf("read core times: no core %d", core)
}

// allowedCores are the cores this process may use, lowest first.
func allowedCores() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("ask for the allowed cores: %w", err)
	}
	var cores []int
	for core := range 1024 {
		if set.IsSet(core) {
			cores = append(cores, core)
		}
	}
	return cores, nil
}

// tryRoundRobin sets SCHED_RR on a thread that ends with the calling goroutine.
func tryRoundRobin() error {
	runtime.LockOSThread() // never unlocked
	return setRoundRobin(0)
}
