//go:build vm

package vm

import (
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestNobodyGivesAddresses: where there is no DHCP server a new box gives itself a link-local address, which its console
// shows, and the page is reached there.
func TestNobodyGivesAddresses(t *testing.T) {
	w := newWire(t)
	m := boot(t, freePort(t), "", append(w.arguments, "-S")...) // it waits until the cables are out in which there is one
	waitFor(t, m, answerWait, func() (string, bool) {
		_, err := os.Stat(m.monitor)
		return "no QEMU", err == nil
	})
	for _, command := range []string{"set_link net off", "set_link edge off", "cont"} {
		m.monitor1(t, command)
	}
	began := time.Now()
	page := regexp.MustCompile(`(?m)^Web page +https://(169\.254\.[0-9.]+)/$`)
	screen := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && page.MatchString(s) && setupCode.MatchString(s)
	})
	t.Logf("power on to the address: %.0f s\n%s", time.Since(began).Seconds(), screen)
	if n := strings.Count(screen, "https://"); n != 1 {
		t.Errorf("%d addresses of the page are shown, want one", n)
	}
	address := netip.MustParseAddr(page.FindStringSubmatch(screen)[1])
	if got := w.probe(t, m, address, 1024, address); got[address.String()+" syn-ack 443"] == 0 || got[address.String()+" pong"] != 1 {
		t.Errorf("answers %v; want the page and a ping", got)
	}
	checkSystem(t, m.report(t))
}
