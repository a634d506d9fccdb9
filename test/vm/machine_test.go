//go:build vm

package vm

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// machine is the image, booted by image/boot, with a second network port for players.
type machine struct {
	page                     string // host:port of the web page
	serial, reports, monitor string // files, and QEMU's socket
	keys, ask                string // sockets of the serial console and of what asks for reports
	ended                    chan error
	boot                     int // the process of image/boot, whose child is QEMU
}

// edgeNetwork is what is behind the second port: 198.18.1.2 is QEMU, and so the loopback interface of this machine.
const edgeNetwork = "user,id=edge,net=198.18.1.0/24,restrict=off,hostfwd=tcp:127.0.0.1:%d-198.18.1.10:25565,hostfwd=udp:127.0.0.1:%[1]d-198.18.1.10:25565"

// boot starts a machine that ends with the test. players is the port of this machine whose traffic arrives at
// 198.18.1.10:25565 of the box. image is another than that in build/image, if any; arguments are more of them for QEMU.
func boot(t *testing.T, players int, image string, arguments ...string) *machine {
	t.Helper()
	return bootWith(t, players, []string{"IMAGE=" + image}, arguments...)
}

// bootWith is boot with variables of image/boot.
func bootWith(t *testing.T, players int, variables []string, arguments ...string) *machine {
	t.Helper()
	dir := t.TempDir()
	page := freePort(t)
	m := &machine{page: fmt.Sprintf("127.0.0.1:%d", page), ended: make(chan error, 1),
		serial: filepath.Join(dir, "serial"), reports: filepath.Join(dir, "reports"), monitor: filepath.Join(dir, "monitor"),
		keys: filepath.Join(dir, "keys"), ask: filepath.Join(dir, "ask")}
	command := exec.Command("../../image/boot", "-monitor", "unix:"+m.monitor+",server,nowait",
		"-chardev", "socket,id=console,server=on,wait=off,path="+m.keys+",logfile="+m.serial, "-serial", "chardev:console", "-serial", "file:"+m.reports,
		"-chardev", "socket,id=ask,server=on,wait=off,path="+m.ask, "-serial", "chardev:ask",
		"-netdev", fmt.Sprintf(edgeNetwork, players), "-device", "virtio-net-pci,netdev=edge,romfile=,mac=52:54:00:00:00:02",
		"-smbios", credential(t, "extra-unit", "report.service"), "-smbios", credential(t, "extra-unit", "report.socket"),
		"-smbios", credential(t, "unit-dropin", "multi-user.target"))
	command.Args = append(command.Args, arguments...)
	command.Env = append(append(os.Environ(), fmt.Sprintf("WEB_PORT=%d", page)), variables...)
	command.Stdout, command.Stderr = os.Stderr, os.Stderr
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // QEMU is a child of it
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	m.boot = command.Process.Pid
	go func() { m.ended <- command.Wait() }()
	t.Cleanup(func() {
		if err := syscall.Kill(-command.Process.Pid, syscall.SIGTERM); err != nil {
			t.Errorf("end the machine: %v", err)
		}
		<-m.ended
	})
	return m
}

// credential is an extra-unit or unit-dropin that only the test adds (systemd-debug-generator(8)).
func credential(t *testing.T, kind, unit string) string {
	t.Helper()
	content, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	return "type=11,value=io.systemd.credential.binary:systemd." + kind + "." + unit + "=" + base64.StdEncoding.EncodeToString(content)
}

// reset is the button of that name: nothing is written any more, nothing is stopped.
func (m *machine) reset(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("unix", m.monitor)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(m.serial, 0); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Write([]byte("system_reset\n")); err != nil {
		t.Fatal(err)
	}
	prompts := 0
	for buffer := make([]byte, 256); prompts < 2; { // the second one comes when it is done
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		prompts += strings.Count(string(buffer[:n]), "(qemu) ")
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// patience is how long a test has waited for a machine, without the time in which the machine waited for a processor that
// other programs had: a busy computer is no fault of the box.
type patience struct {
	m     *machine
	began time.Time
	held  time.Duration
}

func (m *machine) patience() patience { return patience{m, time.Now(), m.held()} }

// ends tells whether the machine had as long as that; or four times as long, busy or not.
func (p patience) ends(within time.Duration) bool {
	gone := time.Since(p.began)
	return gone > within && (gone-(p.m.held()-p.held) > within || gone > 4*within)
}

// held is how long the machine has been ready to run without running: that of QEMU's threads that waited longest (the
// second number of /proc/PID/task/TID/schedstat, in ns; Documentation/scheduler/sched-stats.rst). 0: nobody knows.
func (m *machine) held() time.Duration {
	var longest time.Duration
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", m.boot)) // none: it has not begun or has ended
	for child := range strings.FieldsSeq(string(children)) {
		threads, _ := filepath.Glob("/proc/" + child + "/task/*/schedstat") // the pattern is good
		for _, thread := range threads {
			content, _ := os.ReadFile(thread) // none: it has ended
			var ran, waited time.Duration
			if _, err := fmt.Sscan(string(content), &ran, &waited); err == nil {
				longest = max(longest, waited)
			}
		}
	}
	return longest
}

// waitFor asks until what it gets is good, and gives up with what it got last.
func waitFor(t *testing.T, m *machine, within time.Duration, get func() (string, bool)) string {
	t.Helper()
	var last string
	for p := m.patience(); !p.ends(within); {
		var good bool
		if last, good = get(); good {
			return last
		}
		select {
		case err := <-m.ended:
			m.ended <- err
			t.Fatalf("the machine ended: %v", err)
		case <-time.After(time.Second):
		}
	}
	t.Fatalf("not within %s in which it could run; the last was:\n%s", within, last)
	return ""
}

// screen is what the serial console shows now.
func (m *machine) screen() string {
	content, err := os.ReadFile(m.serial)
	if err != nil {
		return err.Error()
	}
	drawn := strings.Split(strings.ReplaceAll(string(content), "\r", ""), "\x1b[H\x1b[2J\x1b[3J")
	last := drawn[len(drawn)-1]
	if !strings.HasSuffix(last, "UTC\n") && len(drawn) > 1 { // it is being drawn
		last = drawn[len(drawn)-2]
	}
	return last
}

// report asks for a report and returns it, by its parts. A machine that does not listen yet is asked again.
func (m *machine) report(t *testing.T) map[string]string {
	t.Helper()
	const begin, end = "# begin\n", "# end\n"
	before := strings.Count(m.read(), begin)
	var asked time.Time
	text := waitFor(t, m, reportWait, func() (string, bool) {
		all := strings.Split(m.read(), begin)
		if len(all) >= before+2 {
			return all[before+1], strings.Contains(all[before+1], end)
		}
		if time.Since(asked) > 10*time.Second {
			asked = time.Now()
			m.askForReport(t)
		}
		return "", false
	})
	parts := map[string]string{}
	for _, part := range strings.Split(text, "# ")[1:] {
		name, content, _ := strings.Cut(part, "\n")
		parts[name] = strings.TrimSpace(content)
	}
	return parts
}

// askForReport writes a line to the third serial port, which starts report.service by report.socket.
func (m *machine) askForReport(t *testing.T) {
	t.Helper()
	conn, err := net.Dial("unix", m.ask)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
}

func (m *machine) read() string {
	content, err := os.ReadFile(m.reports)
	if err != nil {
		return ""
	}
	return strings.ReplaceAll(string(content), "\r", "")
}

// fromTree runs a program of the tree that the image is built with: this machine need not have it.
func fromTree(t *testing.T, program string, arguments ...string) string {
	t.Helper()
	tree, err := filepath.Abs("../../build/trees/build")
	if err != nil {
		t.Fatal(err)
	}
	libraries := filepath.Join(tree, "usr/lib/x86_64-linux-gnu")
	command := exec.Command(filepath.Join(libraries, "ld-linux-x86-64.so.2"),
		append([]string{"--library-path", libraries, filepath.Join(tree, program)}, arguments...)...)
	command.Env = append(os.Environ(), "MTOOLS_SKIP_CHECK=1")
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", program, err, out)
	}
	return string(out)
}
