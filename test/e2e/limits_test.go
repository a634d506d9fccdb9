//go:build e2e

package e2e

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/header"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/test/lab"
)

// edgeWith runs an edge of the test's own in place of the lab's until the test ends, under a limit of open files.
func edgeWith(t *testing.T, files int) (pid int) {
	t.Helper()
	back := withoutEdge(t)
	path, err := exec.LookPath("prlimit")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, fmt.Sprintf("--nofile=%d", files), binary, "edge",
		"--socket", edgeSocket, "--state", edgeState)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		ended <- lab.Inside(lab.Edge, func() error { // its thread waits, or the kernel would end the child
			err := cmd.Start()
			started <- err
			if err != nil {
				return err
			}
			return cmd.Wait()
		})
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-ended
		back()
	})
	inForce(t)
	return cmd.Process.Pid
}

// firstFree is the lowest number that no file of a process has, which the next would get.
func firstFree(t *testing.T, pid int) (n int) {
	t.Helper()
	for {
		_, err := os.Lstat(filepath.Join("/proc", strconv.Itoa(pid), "fd", strconv.Itoa(n)))
		if errors.Is(err, os.ErrNotExist) {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
}

// TestFewFiles: an edge with few file descriptors refuses what it cannot carry, counts it, serves those it has, and
// takes new ones as soon as there is room.
func TestFewFiles(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		games := service("games", "1800")
		games.Path = "user" // the kernel path needs no files
		apply(t, document([]settings.Pool{pool("games", f.origin)}, games))
		const files = 700
		edge := edgeWith(t, files)
		before := reasons(t, plan.TCP)[status.SessionLimit]
		served, refused := crowdIn(t, f, 300, patience)
		if len(served) == 0 || refused == 0 {
			t.Errorf("got %d served and %d refused, want some of each", len(served), refused)
		}
		counted(t, plan.TCP, status.SessionLimit, before, uint64(refused))
		for _, c := range served[len(served)/2:] {
			_ = c.Close()
		}
		served = served[:len(served)/2]
		eventually(t, func() error { return servedBy(f.at(1800), "games-1") })

		// Now there are fewer than edge believes: the kernel itself says no.
		before = reasons(t, plan.TCP)[status.OutOfFiles]
		limit := func(n int) {
			if err := unix.Prlimit(edge, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(n), Max: files}, nil); err != nil {
				t.Fatal(err)
			}
		}
		limit(firstFree(t, edge))
		if more, _ := crowdIn(t, f, 20, 2*time.Second); len(more) > 0 {
			t.Errorf("got %d served without descriptors", len(more))
		}
		limit(files)
		if got := reasons(t, plan.TCP)[status.OutOfFiles]; got == before {
			t.Error("nothing was counted as out-of-files")
		}
		eventually(t, func() error { return servedBy(f.at(1800), "games-1") })
		for i, c := range served {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Errorf("session %d of those that were there: %v", i, err)
				continue
			}
			if _, err := c.Read(make([]byte, 1)); err != nil {
				t.Errorf("session %d of those that were there: %v", i, err)
			}
		}
	})
}

// crowdIn opens n sessions at once and returns those that are served within the limit and how many were refused.
func crowdIn(t *testing.T, f family, n int, limit time.Duration) (served []net.Conn, refused int) {
	t.Helper()
	all := make([]net.Conn, n)
	onEach(t, 16, upTo(n), func(i int) error {
		c, err := dialTCP(f.at(1800))
		if err != nil {
			return nil
		}
		t.Cleanup(func() { _ = c.Close() })
		if err := c.SetReadDeadline(time.Now().Add(limit)); err != nil {
			return err
		}
		if _, err := askTCP(c, "hello"); err != nil {
			return nil
		}
		all[i] = c
		return c.SetDeadline(time.Now().Add(4 * patience))
	})
	for _, c := range all {
		if c != nil {
			served = append(served, c)
		}
	}
	return served, n - len(served)
}

// residentKiB is VmRSS of proc_pid_status(5).
func residentKiB(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.Atoi(strings.Fields(rest)[0])
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	t.Fatal("there is no VmRSS")
	return 0
}

// TestUDPFlood: datagrams from 60,000 spoofed sources cost what the limit of flows allows, and those who are here
// play on.
func TestUDPFlood(t *testing.T) {
	const datagrams, maxFlows, maxGrowthKiB = 300_000, 3000, 64 << 10
	eachFamily(t, func(t *testing.T, f family) {
		flooded := service("flooded", "1801")
		flooded.Timeouts.FlowIdle = settings.Duration(2 * time.Second)
		d := document([]settings.Pool{pool("games", f.origin)}, service("players", "1804"), flooded)
		d.Limits.MaxFlows = maxFlows
		// The flows of other cases, which no limit of this one touches, end within their two minutes or with edge.
		apply(t, d)
		end(t, "edge", syscall.SIGTERM)
		inForce(t)
		edge, err := lab.Child("edge")
		if err != nil {
			t.Fatal(err)
		}
		h := hold(t, f, 1804, 20, 5)
		before, spoofed := residentKiB(t, edge), newSpoofer(t, f, 1801)
		source := crowd(t, f)

		over := make(chan struct{})
		var playing sync.WaitGroup
		playing.Go(func() {
			for {
				h.verify(t)
				select {
				case <-over:
					return
				default:
				}
			}
		})
		most := 0
		for i := range datagrams {
			spoofed.send(t, source(i%60_000), []byte("flood"))
			if i%30_000 == 0 {
				most = max(most, len(sessions(t))-len(h.tcp))
			}
		}
		close(over)
		playing.Wait()
		if most < maxFlows/2 || most > maxFlows+runtime.NumCPU() {
			t.Errorf("got at most %d flows, want about the limit of %d and not more", most, maxFlows)
		}
		if got := residentKiB(t, edge) - before; got > maxGrowthKiB {
			t.Errorf("edge grew by %d KiB, want at most %d", got, maxGrowthKiB)
		}
		if reasons(t, plan.UDP)[status.FlowLimit] == 0 {
			t.Error("nothing was counted as flow-limit")
		}
		eventually(t, func() error { return servedBy(f.at(1801), "games-1") })
		h.verify(t)
	})
}

// TestAmplification: a source that has proven nothing gets at most three bytes on the wire for each that it sent.
func TestAmplification(t *testing.T) {
	eachFamily(t, func(t *testing.T, f family) {
		own := ownAddress(t, f, 59)
		bounded, free := service("bounded", "1802"), service("free", "1803")
		bounded.Limits.MaxAmplification = 0
		each, spp := service("each", "1804"), service("spp", "1805")
		each.Limits.MaxAmplification, spp.Limits.MaxAmplification = 0, 0
		each.UDPHeader, spp.UDPHeader = "v2-each", "spp"
		apply(t, document([]settings.Pool{pool("games", own)}, bounded, free, each, spp))
		for _, size := range []int{0, 1, 100, 1000, 1400} {
			t.Run(fmt.Sprintf("%d bytes", size), func(t *testing.T) {
				sent, received := amplify(t, f, own, 1802, "bounded", size, 0)
				atMostThree(t, sent, received)
			})
		}
		// What the origin is sent besides, and what it sends besides, is not the client's.
		t.Run("v2-each", func(t *testing.T) {
			sent, received := amplify(t, f, own, 1804, "each", 100, 0)
			atMostThree(t, sent, received)
		})
		t.Run("spp", func(t *testing.T) {
			sent, received := amplify(t, f, own, 1805, "spp", 100, len(header.SPP(netip.AddrPort{}, netip.AddrPort{})))
			atMostThree(t, sent, received)
		})
		if sent, received := amplify(t, f, own, 1803, "free", 1, 0); received < 4*sent {
			t.Errorf("got %d bytes for %d from a service without a limit; so the measurement proves nothing", received, sent)
		}
	})
}

func atMostThree(t *testing.T, sent, received int) {
	t.Helper()
	if ratio := float64(received) / float64(sent); ratio > 3 || received == 0 {
		t.Errorf("got %d bytes for %d, %.2f times as much, want at most 3.0 times and some", received, sent, ratio)
	}
}

// amplify sends two datagrams each from 40 sources that never say anything else, to an origin that answers each with
// twenty small and large ones, behind so much of what it was sent, and returns the bytes on the wire at the client.
func amplify(t *testing.T, f family, own netip.Addr, port uint16, service string, size, head int) (sent, received int) {
	t.Helper()
	const sources, answers = 40, 20
	c := listenUDP(t, lab.Origin, netip.AddrPortFrom(own, port))
	defer c.Close()
	answering(c, func(datagram []byte, from netip.AddrPort) []byte {
		for i := range answers {
			answer := slices.Concat(datagram[:head], make([]byte, []int{1, 200, 1200}[i%3]))
			_, _ = c.WriteToUDPAddrPort(answer, from)
		}
		return nil
	})
	answered := func() uint64 {
		dropped := reasons(t, plan.UDP)
		list := boxStatus(t).Edge.Services
		i := slices.IndexFunc(list, func(s status.Service) bool { return s.Name == service })
		return dropped[status.Amplification] + dropped[status.Congested] + list[i].DatagramsToCli
	}
	before, wire := answered(), newWire(t, f)
	spoofed, source := newSpoofer(t, f, port), crowd(t, f)
	for i := range sources {
		spoofed.send(t, source(i), make([]byte, size))
		spoofed.send(t, source(i), make([]byte, size))
	}
	eventually(t, func() error {
		if got := answered() - before; got < 2*sources*answers {
			return fmt.Errorf("got %d answers, want %d", got, 2*sources*answers)
		}
		return nil
	})
	return wire.bytes(t)
}
