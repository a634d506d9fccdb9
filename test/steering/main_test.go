//go:build e2e

// Package steering sends real packets through steering, in network namespaces: a client, the box, an origin.
//
// The test binary runs itself again as each of them. A closure that joins a namespace would not do, as goroutines
// stay outside. The namespaces have no name and end with their process, so nothing is left behind:
//
//	box (this process)   wan0 198.18.1.1, 2001:db8:1::1 ── client 198.18.1.2, 2001:db8:1::2
//	                     lan0 198.18.2.1, 2001:db8:2::1 ── origin 198.18.2.2, 2001:db8:2::2 (default route: the box)
package steering

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// role says what a run of the test binary is: nothing (as go test starts it), box, host, dial or ping.
const role = "BREAKWATER_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "box":
		os.Exit(m.Run())
	case "host":
		host()
	case "dial":
		dialAll(os.Args[1:])
	case "ping":
		pingAll(os.Args[1:])
	default:
		box := again("box", os.Args[1:]...)
		box.Stdout, box.Stderr = os.Stdout, os.Stderr
		box.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		var failed *exec.ExitError
		if err := box.Run(); errors.As(err, &failed) {
			os.Exit(failed.ExitCode())
		} else if err != nil {
			fmt.Fprintln(os.Stderr, "a network namespace needs root:", err)
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// again is this binary in another role.
func again(as string, args ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(os.Environ(), role+"="+as)
	return cmd
}

// machine is a neighbour of the box: a process in its own namespace that answers on port 7777.
type machine struct{ pid int }

// start begins a machine and connects it: near is the box's end of the cable.
func start(t *testing.T, near string, net int) machine {
	t.Helper()
	cmd := again("host")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
	if _, err := io.ReadFull(out, make([]byte, len(ready))); err != nil {
		t.Fatal(err)
	}
	m := machine{cmd.Process.Pid}
	// Without duplicate address detection, which makes the first second of IPv6 a gamble.
	noDAD := "echo 0 >/proc/sys/net/ipv6/conf/all/accept_dad; echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad"
	sh(t, noDAD)
	m.sh(t, noDAD)
	sh(t, fmt.Sprintf(`ip link add %[1]s type veth peer name eth0 netns %[2]d
		ip addr add 198.18.%[3]d.1/24 dev %[1]s; ip addr add 2001:db8:%[3]d::1/64 dev %[1]s nodad; ip link set %[1]s up`, near, m.pid, net))
	m.sh(t, fmt.Sprintf(`ip addr add 198.18.%[1]d.2/24 dev eth0; ip addr add 2001:db8:%[1]d::2/64 dev eth0 nodad
		ip link set lo up; ip link set eth0 up
		ip route add default via 198.18.%[1]d.1; ip route add default via 2001:db8:%[1]d::1`, net))
	t.Cleanup(func() { sh(t, "ip link del "+near) })
	m.awaitLink(t, net)
	return m
}

// awaitLink returns when both families work: the kernel takes up to a second to tell IPv6 that a cable is plugged
// in (net/core/link_watch.c). What was learnt meanwhile is forgotten, so that tests begin with finding neighbours.
func (m machine) awaitLink(t *testing.T, net int) {
	t.Helper()
	for _, a := range []string{fmt.Sprintf("198.18.%d.2", net), fmt.Sprintf("2001:db8:%d::2", net)} {
		eventually(t, a+" answers", func() bool { return ping(netip.MustParseAddr(a), moment) == nil })
	}
	const forget = "ip neigh flush all; ip -6 neigh flush all"
	sh(t, forget)
	m.sh(t, forget)
}

func (m machine) sh(t *testing.T, line string) string {
	t.Helper()
	return output(t, exec.Command("nsenter", "--net", "--target", strconv.Itoa(m.pid), "sh", "-ec", line))
}

// run is this binary in another role on m; a line for each argument comes back.
func (m machine) run(t *testing.T, as string, args ...string) []string {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("nsenter", append([]string{"--net", "--target", strconv.Itoa(m.pid), exe}, args...)...)
	cmd.Env = append(os.Environ(), role+"="+as)
	return strings.Split(strings.TrimSpace(output(t, cmd)), "\n")
}

// dial sends "tcp/ADDRESS:PORT" or "udp/ADDRESS:PORT" and returns the answers.
func (m machine) dial(t *testing.T, targets ...string) []string {
	t.Helper()
	return m.run(t, "dial", append([]string{patience.String()}, targets...)...)
}

// try is dial where no answer is to come.
func (m machine) try(t *testing.T, targets ...string) []string {
	t.Helper()
	return m.run(t, "dial", append([]string{moment.String()}, targets...)...)
}

func sh(t *testing.T, line string) string {
	t.Helper()
	return output(t, exec.Command("sh", "-ec", line))
}

func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}
