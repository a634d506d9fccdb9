package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sessionSlabs are the kernel's object caches that a TCP session fills: its sockets, their files, and their places
// in epoll and in the port tables. Others are left out, since the rest of the machine moves them too.
var sessionSlabs = map[string]bool{
	"TCP": true, "mptcp_sock": true, "sock_inode_cache": true, "filp": true, "dentry": true,
	"eventpoll_epi": true, "eventpoll_pwq": true, "tcp_bind_bucket": true, "tcp_bind2_bucket": true,
	"request_sock_TCP": true, "skbuff_head_cache": true, "skbuff_fclone_cache": true, "skbuff_small_head": true,
}

// parseSlabs sums the bytes of active objects in sessionSlabs, from the text of /proc/slabinfo (slabinfo(5)).
func parseSlabs(text string) (int64, error) {
	var sum int64
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) < 4 || !sessionSlabs[fields[0]] {
			continue
		}
		active, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse slab %s: %w", fields[0], err)
		}
		size, err := strconv.ParseInt(fields[3], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse slab %s: %w", fields[0], err)
		}
		sum += active * size
	}
	return sum, nil
}

// parseResident is the memory that a process alone holds, in bytes, from the text of /proc/PID/status: anonymous
// and shared memory, not the pages of its program file.
func parseResident(text string) (int64, error) {
	var sum int64
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(line, ":")
		if name != "RssAnon" && name != "RssShmem" {
			continue
		}
		kb, err := strconv.ParseInt(strings.Fields(value)[0], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse %s: %w", name, err)
		}
		sum += kb << 10
	}
	return sum, nil
}

// memory is what processes and the kernel's session objects take, in bytes.
type memory struct{ user, kernel int64 }

func readMemory(pids []int) (memory, error) {
	slabs, err := os.ReadFile("/proc/slabinfo")
	if err != nil {
		return memory{}, fmt.Errorf("read slabs: %w", err)
	}
	var m memory
	if m.kernel, err = parseSlabs(string(slabs)); err != nil {
		return memory{}, err
	}
	m.user, err = readResident(pids)
	return m, err
}

// readResident is the sum of parseResident over processes; one that has ended was a child of a moment.
func readResident(pids []int) (int64, error) {
	var sum int64
	for _, pid := range pids {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
		resident, err := parseResident(string(status))
		if err != nil {
			return 0, err
		}
		sum += resident
	}
	return sum, nil
}
