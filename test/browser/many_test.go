//go:build e2e

package browser

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/test/lab"
	"breakwater/web/webtest"
)

const (
	rows = 50_000
	// maxControl bounds the memory of control while it lists them, in kB.
	maxControl = 80_000
)

// standIn runs the real control with a stand-in for edge, for what no lab has: as many sessions, and hostile ones.
// It returns the number of its process.
func standIn(t testing.TB, edge *edgetest.Edge) (*box, int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "browser") // a socket's path has at most 107 bytes
	must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	binary, err := lab.Binary()
	must(t, err)
	address := freeAddress(t)
	socket := filepath.Join(dir, "control.sock")
	cmd := exec.Command(binary, "control", "--state", filepath.Join(dir, "state"), "--edge", edge.Socket, "--socket", socket, "--listen", address)
	var log bytes.Buffer
	cmd.Stderr = &log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	must(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("control ended: %v\n%s", err, log.Bytes())
		}
	})
	eventually(t, patience, func() error {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	b := &box{Ready: lab.Ready{URL: "https://" + address}, access: lab.Access{Socket: socket, Certificate: filepath.Join(dir, "state", "certificate.pem")}}
	b.connect(t)
	return b, cmd.Process.Pid
}

// freeAddress is one on loopback where nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer l.Close()
	return l.Addr().String()
}

// session is the n-th of many.
func session(n int) status.Session {
	return status.Session{
		ID: status.ID(n + 1), Protocol: plan.TCP, Path: plan.PathUser, Service: "everything", Origin: "games-1", State: "open", Idle: float64(n % 600),
		Client:        netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(n >> 8), byte(n)}), 40000),
		Edge:          netip.MustParseAddrPort("203.0.113.10:25565"),
		OriginAddress: netip.MustParseAddrPort("10.0.0.20:25565"),
		Started:       time.Now().Add(-time.Duration(n) * time.Second), BytesToOrigin: uint64(n), BytesToClient: uint64(n) * 10,
	}
}

// TestManyRows: the table of 50,000 is scrolled, searched, sorted and used with the keyboard, and control stays small.
func TestManyRows(t *testing.T) {
	edge := edgetest.Start(t)
	sessions := make([]status.Session, rows)
	for n := range sessions {
		sessions[n] = session(n)
	}
	sessions[rows-1].Path = plan.PathKernel
	edge.Observe(status.Edge{Started: time.Now()}, sessions...)
	b, pid := standIn(t, edge)
	must(t, b.put(webtest.Document))
	p := b.signIn(t, "anna", "admin")
	before := resident(t, pid)
	p.visit("/connections")
	p.see("50 000 sessions and flows", sessions[0].Client.String())

	began := time.Now()
	p.keys(t, kb.End)
	p.see(sessions[rows-1].Client.String())
	t.Logf("the last of %d rows was there %.2f s after the End key", rows, time.Since(began).Seconds())
	const pathOfLast = `[...document.querySelectorAll('tr')].find(r => r.textContent.includes(%q)).querySelector('[data-cell=protocol]').title`
	if got := ask[string](p, fmt.Sprintf(pathOfLast, sessions[rows-1].Client)); got != "carried by the kernel path" {
		t.Errorf("the last row is %q, want carried by the kernel path", got)
	}
	for range 40 { // through the middle bottom to top
		p.scroll(t, -25_000)
	}
	p.seeRows(t)

	p.fill("search", "203.0.77.7:")
	p.see("1 of 50 000 sessions and flows", "203.0.77.7:40000")
	p.fill("search", "")
	p.see("50 000 sessions and flows")
	p.click("Client")
	p.see(sessions[0].Client.String())
	p.click("Client")
	p.see(sessions[rows-1].Client.String())

	p.keys(t, "k")
	eventually(t, patience, func() error {
		if n := len(edge.Sessions()); n != rows-1 {
			return fmt.Errorf("%d sessions are open, want %d", n, rows-1)
		}
		return nil
	})
	p.see("Kicked ")
	p.inspect("connections-many")
	after := resident(t, pid)
	t.Logf("control has %d kB resident, %d kB before the table", after, before)
	if after > maxControl {
		t.Errorf("control has %d kB resident with %d sessions listed, want at most %d kB", after, rows, maxControl)
	}
}

// put makes a document the settings.
func (b *box) put(document string) error { return b.putTo("/api/v1/settings", document) }

func (b *box) putTo(path, document string) error {
	request, err := http.NewRequest(http.MethodPut, "http://box"+path, strings.NewReader(document))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the settings were refused: %s", response.Status)
	}
	return nil
}

// keys sends keys to the row of the table that Tab stops at.
func (p *browser) keys(t testing.TB, keys string) {
	t.Helper()
	eventually(t, patience, func() error {
		_, err := eval[bool](p, `document.querySelector('tbody tr[tabindex="0"]').focus(), true`)
		return err
	})
	must(t, chromedp.Do(p.ctx, chromedp.KeyEvent(keys)))
}

// scroll moves the table as a mouse wheel does.
func (p *browser) scroll(t testing.TB, pixels int) {
	t.Helper()
	ask[bool](p, fmt.Sprintf(`document.querySelector("[data-scroll]").scrollBy({top: %d, behavior: "instant"}), true`, pixels))
}

// seeRows waits until the part of the table that is in view is full of rows.
func (p *browser) seeRows(t testing.TB) {
	t.Helper()
	eventually(t, patience, func() error {
		n, err := eval[int](p, `(() => {
  const box = document.querySelector("[data-scroll]").getBoundingClientRect();
  return [...document.querySelectorAll("tbody tr th[scope=row]")].filter(e => { const r = e.getBoundingClientRect(); return r.bottom > box.top && r.top < box.bottom && e.innerText; }).length;
})()`)
		if err == nil && n < 10 {
			err = fmt.Errorf("%d rows are in view", n)
		}
		return err
	})
}

// resident is the memory that a process has right now, in kB (proc_pid_status(5)).
func resident(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kB, err := strconv.Atoi(strings.Fields(rest)[0])
	must(t, err)
	return kB
}
