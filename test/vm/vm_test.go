//go:build vm

// Package vm boots the image under QEMU, as a new box on somebody's desk: what its console shows, what its page answers,
// and a player through it. Needs build/image and no KVM. On a busy computer OWN_CLOCK=1 keeps the box from being late
// (image/boot).
//
//	go test -tags vm ./test/vm
package vm

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const (
	bootWait   = 8 * time.Minute // about 40 s where nothing else runs
	reportWait = 5 * time.Minute
	answerWait = 30 * time.Second
	callWait   = 3 * time.Minute // for an answer of a box that is up, and has little of a processor
)

// versions is where images are that were built for a test; they go with the last one.
var versions string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "breakwater-versions-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	versions = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func TestNewBox(t *testing.T) {
	players := freePort(t)
	m := boot(t, players, "")
	began := time.Now()
	code := regexp.MustCompile(`(?m)^Setup code +(\S+)$`)
	screen := waitFor(t, m, bootWait, func() (string, bool) {
		s := m.screen()
		return s, strings.Contains(s, "READY  ") && strings.Contains(s, "https://10.0.2.15/") && code.MatchString(s)
	})
	t.Logf("power on to READY: %.0f s\n%s", time.Since(began).Seconds(), screen)
	if want := regexp.MustCompile(`^Breakwater \d{8}\.\d{6}, slot A\n`); !want.MatchString(screen) {
		t.Errorf("the console begins with %q, want %s", strings.SplitN(screen, "\n", 2)[0], want)
	}
	b := newBrowser(t, m)
	t.Run("certificate", func(t *testing.T) { checkCertificate(t, m) })
	if t.Run("claim", func(t *testing.T) { b.claim(t, code.FindStringSubmatch(screen)[1]) }) {
		origins := fmt.Sprintf(document, playerPort(t, screen), serveTCP(t), serveUDP(t))
		t.Run("settings", func(t *testing.T) { b.apply(t, origins) })
		t.Run("tcp", func(t *testing.T) { playTCP(t, players) })
		t.Run("udp", func(t *testing.T) { playUDP(t, players) })
		t.Run("kernel path", b.checkPath)
	}
	t.Run("system", func(t *testing.T) { checkSystem(t, m.report(t)) })
	t.Run("reset button, no cable", func(t *testing.T) {
		m.monitor1(t, "set_link net off")
		m.monitor1(t, "set_link edge off")
		m.reset(t)
		screen := waitFor(t, m, bootWait, func() (string, bool) {
			s := m.screen()
			return s, strings.Contains(s, "READY  Revision 1 is in force.") && !strings.Contains(s, "Setup code")
		})
		if got := strings.Count(screen, "no link\n"); got != 2 || strings.Contains(screen, "https://10.0.2.15/") {
			t.Errorf("%d ports have no link, want both, without an address by DHCP:\n%s", got, screen)
		}
		m.monitor1(t, "set_link net on")
		m.monitor1(t, "set_link edge on")
		checkCertificate(t, m)
		playTCP(t, players)
	})
}

// checkPath: the kernel of the image takes the programs of the kernel path, which carry the players, and of the shield before it.
func (b *browser) checkPath(t *testing.T) {
	var list status.SessionList
	b.call(t, http.MethodGet, "/api/v1/sessions", nil, &list)
	for _, s := range list.Sessions {
		if s.Path != plan.PathKernel {
			t.Errorf("%s of %s is on the path %q, want %q", s.Protocol, s.Client, s.Path, plan.PathKernel)
		}
	}
	if len(list.Sessions) == 0 {
		t.Error("the flow of the player is gone")
	}
	var seen control.Status
	b.call(t, http.MethodGet, "/api/v1/status", nil, &seen)
	if seen.Edge == nil || seen.Edge.Shield.Mode != plan.ShieldOn || len(seen.Edge.Shield.Attachments) != 1 || seen.Edge.Shield.Attachments[0].Mode == "none" {
		t.Errorf("the shield is not in front of the players: %+v", seen.Edge)
	} else {
		t.Logf("the shield is there: %+v", seen.Edge.Shield.Attachments[0])
	}
}

// checkCertificate: the page shows the certificate whose fingerprint is on the console. Addresses that came late
// change it within a minute.
func checkCertificate(t *testing.T, m *machine) {
	waitFor(t, m, 2*time.Minute, func() (string, bool) {
		conn, err := tls.Dial("tcp", m.page, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // compared below
		if err != nil {
			return err.Error(), false
		}
		defer conn.Close()
		served := fmt.Sprintf("%X", sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw))
		shown := regexp.MustCompile(`(?:[0-9A-F]{2}:){15}[0-9A-F]{2}`).FindAllString(m.screen(), -1)
		got := strings.ReplaceAll(strings.Join(shown, ""), ":", "")
		return "served " + served + ", shown " + got, served == got
	})
}

// playerPort is the name of the second network port, from the console.
func playerPort(t *testing.T, screen string) string {
	t.Helper()
	found := regexp.MustCompile(`(\S+) +52:54:00:00:00:02  link`).FindStringSubmatch(screen)
	if found == nil {
		t.Fatalf("the console shows no port with that address:\n%s", screen)
	}
	return found[1]
}

type browser struct {
	http.Client
	m *machine
}

func newBrowser(t *testing.T, m *machine) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{m: m, Client: http.Client{Jar: jar, Timeout: callWait, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}} //nolint:gosec // checkCertificate compares it
}

func (b *browser) claim(t *testing.T, code string) {
	page := "https://" + b.m.page
	form := url.Values{"code": {code}, "account": {"anna"}, "newPassword": {"seven boats under granite 42"}}
	response, err := b.PostForm(page+"/claim", form)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.Request.URL.Path != "/welcome" || response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body) //nolint:errcheck // it only explains
		t.Fatalf("after the claim: %s at %s\n%s", response.Status, response.Request.URL, body)
	}
	waitFor(t, b.m, answerWait, func() (string, bool) {
		s := b.m.screen()
		return s, !strings.Contains(s, "Setup code")
	})
}

func (b *browser) call(t *testing.T, method, path string, body []byte, answer any) {
	t.Helper()
	request, err := http.NewRequest(method, "https://"+b.m.page+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Sec-Fetch-Site", "same-origin") // as the scripts of the page do
	response, err := b.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode/100 != 2 {
		t.Fatalf("%s %s: %s, %v\n%s", method, path, response.Status, err, content)
	}
	if answer != nil {
		if err := json.Unmarshal(content, answer); err != nil {
			t.Fatal(err)
		}
	}
}

// document leads players, by a port of the box, to origins of this test.
const document = `{ "schema": 1,
  "edge": { "interfaces": [%q], "addresses": ["198.18.1.10/32"] },
  "pools": [ { "name": "tcp", "origins": [ { "address": "198.18.1.2", "port": "%d" } ] },
             { "name": "udp", "origins": [ { "address": "198.18.1.2", "port": "%d" } ] } ],
  "services": [ { "name": "tcp", "protocols": ["tcp"], "ports": ["1-65535"], "pool": "tcp", "tcpHeader": "v2" },
                { "name": "udp", "protocols": ["udp"], "ports": ["1-65535"], "pool": "udp", "udpHeader": "v2-each" } ] }`

// apply sends settings and waits until they are in force and nothing is wrong.
func (b *browser) apply(t *testing.T, document string) {
	b.call(t, http.MethodPut, "/api/v1/settings", []byte(document), nil)
	waitFor(t, b.m, answerWait, func() (string, bool) {
		var s control.Status
		b.call(t, http.MethodGet, "/api/v1/status", nil, &s)
		return fmt.Sprintf("%+v", s), s.Revision == 1 && s.InForce && len(s.Conditions) == 0
	})
	waitFor(t, b.m, answerWait, func() (string, bool) {
		s := b.m.screen()
		return s, strings.Contains(s, "READY  Revision 1 is in force.") && !strings.Contains(s, "https://198.18.1.") // where players are
	})
}

// checkSystem holds a report of report.service to what ARCHITECTURE.md says.
func checkSystem(t *testing.T, report map[string]string) {
	t.Logf("log:\n%s", report["log"])
	for _, nothing := range []string{"failed", "setuid", "shells", "cycles", "denied"} {
		if got, there := report[nothing]; !there || got != "" {
			t.Errorf("%s: %q, want nothing", nothing, got)
		}
	}
	if got := listening(report["ports"]); !slices.Equal(got, []string{"tcp *:443"}) {
		t.Errorf("reachable from outside: %q, want the web page only", got)
	}
	if got := report["root"]; !strings.HasPrefix(got, "erofs ro") {
		t.Errorf("root: %q, want erofs, read-only", got)
	}
	var kib int64
	fields := strings.Fields(report["var"])
	if _, err := fmt.Sscan(fields[len(fields)-2], &kib); err != nil || kib < 5<<20 {
		t.Errorf("/var: %q, want at least 5 GiB of a disk of 8", report["var"])
	}
}

// listening leaves out of `ss -tulnH` what only the box itself reaches, and the DHCP client.
func listening(ports string) []string {
	var list []string
	for line := range strings.Lines(ports) {
		f := strings.Fields(line)
		local := f[4]
		host, port, err := net.SplitHostPort(strings.Replace(local, "%lo", "", 1))
		inside := strings.HasPrefix(host, "127.") || host == "::1"
		dhcp := f[0] == "udp" && (port == "68" || port == "546")
		if err != nil || !inside && !dhcp {
			list = append(list, f[0]+" "+local)
		}
	}
	return list
}
