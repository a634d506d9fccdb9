package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/control"
	"breakwater/appliance/health"
	"breakwater/appliance/host"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/web/api"
	webtls "breakwater/web/tls"
)

func TestConsoleText(t *testing.T) {
	ports := []host.Port{
		{Name: "enp1s0", MAC: "52:54:00:12:34:56", Link: true, Speed: 1000, Addresses: []netip.Prefix{
			netip.MustParsePrefix("192.0.2.10/24"), netip.MustParsePrefix("2001:db8::10/64"), netip.MustParsePrefix("fe80::1/64")}},
		{Name: "enp2s0", MAC: "52:54:00:12:34:57"},
	}
	const network = `
Network      enp1s0     52:54:00:12:34:56  link, 1000 Mbit/s
                        192.0.2.10/24
                        2001:db8::10/64
                        fe80::1/64
             enp2s0     52:54:00:12:34:57  no link
`
	certificates := []webtls.Certificate{{Kind: webtls.Own, Fingerprint: "00"}, {Kind: webtls.SelfSigned, Fingerprint: strings.Repeat("0123456789abcdef", 4),
		Words: []string{"one", "two"}}}
	const way = `
Web page     https://192.0.2.10/
             https://[2001:db8::10]/
Certificate  01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF
SHA-256      01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:EF
in words     one two
`
	empty := control.Status{Version: "v1", Edge: nil}
	players := settings.Edge{Interfaces: []string{"wan0"}, Addresses: []settings.Prefix{{Prefix: netip.MustParsePrefix("198.51.100.0/28")}}}
	wan := host.Port{Name: "wan0", MAC: "52:54:00:12:34:57", Link: true, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")}}
	const wanText = `             wan0       52:54:00:12:34:57  link
                        198.51.100.7/32
`
	tests := []struct {
		name string
		s    screen
		want string
	}{
		{"control is not up", screen{system: host.System{Version: "7", Slot: "A"}, ports: ports, trouble: errors.New("no\x1b[2J answer")},
			"Breakwater 7, slot A\n\nSTARTING  The web page is not up yet: no [2J answer\n" + network},
		{"control does not come up", screen{system: host.System{Version: "7", Slot: "A"}, ports: ports, trouble: errors.New("no answer"), log: []string{"level=ERROR msg=\x1b[31mred", "breakwater: the store is damaged"}},
			"Breakwater 7, slot A\n\nSTARTING  The web page is not up yet: no answer\n" + network + "\nThe end of its log:\n  level=ERROR msg= [31mred\n  breakwater: the store is damaged\n"},
		{"unclaimed", screen{system: host.System{Version: "7", Slot: "B"}, ports: ports, status: empty, setup: api.Setup{Code: "ABCD-EFGH"}, certificates: certificates},
			"Breakwater 7, slot B\n\nREADY  The data plane does not answer. Settings are at revision 0.\n" + way + "Setup code   ABCD-EFGH\n" + network},
		{"code used up, no image", screen{ports: ports, status: empty, certificates: certificates},
			"Breakwater v1\n\nREADY  The data plane does not answer. Settings are at revision 0.\n" + way +
				"Setup code   used up by wrong tries; start the box again for a new one\n" + network},
		{"in force", screen{ports: ports[:0:0], setup: api.Setup{Claimed: true}, status: control.Status{Version: "v1", Revision: 3, InForce: true, Edge: &status.Edge{Started: time.Now()}}},
			"Breakwater v1\n\nREADY  Revision 3 is in force.\n\nWeb page     no network port has an address yet\n\nNetwork      no port was found\n"},
		{"no page where players are", screen{ports: []host.Port{ports[0], wan}, settings: settings.Settings{Edge: players}, setup: api.Setup{Claimed: true}, certificates: certificates,
			status: control.Status{Revision: 3, InForce: true}},
			"Breakwater \n\nREADY  Revision 3 is in force.\n" + way + network[:strings.Index(network, "             enp2s0")] + wanText},
		{"one port for all", screen{ports: []host.Port{wan}, settings: settings.Settings{Edge: players}, setup: api.Setup{Claimed: true}, status: control.Status{Revision: 3, InForce: true}},
			"Breakwater \n\nREADY  Revision 3 is in force.\n\nWeb page     https://198.51.100.7/\n\nNetwork" + wanText[len("Network"):]},
		{"went back", screen{system: host.System{Version: "7", Slot: "A", Failed: []string{"8"}}, setup: api.Setup{Claimed: true}, status: control.Status{Revision: 3, InForce: true}},
			"Breakwater 7, slot A\n\nVersion 8 is newer and not started: it was never found healthy, or this one was chosen instead.\n\n" +
				"READY  Revision 3 is in force.\n\nWeb page     no network port has an address yet\n\nNetwork      no port was found\n"},
		{"claimed, with a condition and no ports", screen{setup: api.Setup{Claimed: true}, status: control.Status{Version: "v1",
			Conditions: []health.Condition{{Severity: health.Warning, Title: "Slow", Subject: "games-1", Detail: "Look."}}}},
			"Breakwater v1\n\nREADY  The data plane does not answer. Settings are at revision 0.\n\n" +
				"Web page     no network port has an address yet\n\nNetwork      no port was found\n\nwarning: Slow (games-1)\n  Look.\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, test.s.text()); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConsoleDraws: what a real control answers is on the screen, and is drawn once while nothing changes.
func TestConsoleDraws(t *testing.T) {
	b := newBox(t)
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), 2*consoleEvery+consoleEvery/2)
	defer cancel()
	command := consoleCmd{Socket: filepath.Join(b.dir, "control.sock")}
	if err := command.Run(ctx, &env{stdout: &out}); err != nil {
		t.Fatal(err)
	}
	code := strings.TrimSpace(expect(t, 0, "", "", "setup-code"))
	for _, want := range []string{"READY  ", "Certificate  ", "Setup code   " + code, "Network  "} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the screen lacks %q:\n%s", want, out.String())
		}
	}
	if got := strings.Count(out.String(), clearScreen); got != 1 {
		t.Errorf("drawn %d times, want once", got)
	}
}

// TestKeepAlive: systemd hears from a process as long as its check succeeds.
func TestKeepAlive(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	heard := listenReady(t, path)
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "60000")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	good := make(chan bool, 2)
	good <- false
	good <- true
	go func() {
		ended <- keepAlive(ctx, slog.New(slog.DiscardHandler), func(ctx context.Context) error {
			select {
			case ok := <-good:
				if !ok {
					return errors.New("stuck")
				}
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	begun := time.Now()
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("systemd heard %q, want WATCHDOG=1", got)
	}
	if waited := time.Since(begun); waited < 15*time.Millisecond {
		t.Errorf("it heard after %v, want it after the check that failed", waited)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
