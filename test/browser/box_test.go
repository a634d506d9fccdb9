//go:build e2e

package browser

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"breakwater/test/lab"
)

// password is that of every account of these tests.
const password = "seven lamps over the quay"

// labFile tells how a running lab is reached.
const labFile = "/run/breakwater/lab.json"

// box is a lab that runs, and the Chromium that looks at it.
type box struct {
	lab.Ready
	access   lab.Access
	client   *http.Client    // over the unix socket, as an admin
	chromium context.Context //nolint:containedctx // is the browser: chromedp has no other handle of it
}

// start runs a lab and a Chromium until the test ends.
func start(t testing.TB, o lab.Options) *box {
	t.Helper()
	log, err := os.CreateTemp(t.TempDir(), "lab")
	must(t, err)
	o.Log = log
	t.Cleanup(func() {
		if t.Failed() {
			showEnd(t, log.Name())
		}
	})
	l, err := lab.Start(context.Background(), o)
	must(t, err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("end the lab: %v", err)
		}
	})
	b := &box{Ready: l.Ready, access: readAccess(t)}
	b.connect(t)
	return b
}

// connect opens the two ways to a box: its socket and a Chromium.
func (b *box) connect(t testing.TB) {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", b.access.Socket)
	}
	b.client = &http.Client{Timeout: patience, Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	b.chromium = startChromium(t, b.pin(t))
}

func readAccess(t testing.TB) (a lab.Access) {
	t.Helper()
	text, err := os.ReadFile(labFile)
	must(t, err)
	must(t, json.Unmarshal(text, &a))
	return a
}

// showEnd prints the end of what the box logged.
func showEnd(t testing.TB, file string) {
	text, _ := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	t.Logf("the box logged:\n%s", strings.Join(lines[max(0, len(lines)-30):], "\n"))
}

// pin is the fingerprint of the key of the box's certificate as Chromium takes it (RFC 7469, section 2.4). Chromium
// trusts this one key and no other, as an operator does who has compared the fingerprint.
func (b *box) pin(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(b.access.Certificate)
	must(t, err)
	block, _ := pem.Decode(text)
	certificate, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	sum := sha256.Sum256(certificate.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// startChromium runs a Chromium with a profile of its own until the test ends.
func startChromium(t testing.TB, pin string) context.Context {
	t.Helper()
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath("chromium"),
		chromedp.Flag("headless", "new"),
		chromedp.Flag("no-sandbox", true), // the tests are root, since a lab needs it
		chromedp.Flag("ignore-certificate-errors-spki-list", pin),
		chromedp.Flag("lang", "en-US"),
		chromedp.WindowSize(wide.width, wide.height))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	must(t, chromedp.Do(ctx))
	return ctx
}

// call calls the API as an admin on the box itself.
func (b *box) call(t testing.TB, method, path string, body, into any) {
	t.Helper()
	if err := b.tryCall(method, path, body, into); err != nil {
		t.Fatal(err)
	}
}

func (b *box) tryCall(method, path string, body, into any) error {
	text, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, "http://box/api/v1"+path, bytes.NewReader(text))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := b.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode >= http.StatusBadRequest {
		return fmt.Errorf("%s %s: %s %s", method, path, response.Status, answer)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// boxStatus is what the box says of itself.
type boxStatus struct {
	Revision uint64
	InForce  bool
	Pending  *struct{ Author string }
}

func (b *box) status(t testing.TB) (s boxStatus) {
	t.Helper()
	b.call(t, http.MethodGet, "/status", nil, &s)
	return s
}

// inForce waits until edge runs what control wants.
func (b *box) inForce(t testing.TB) {
	t.Helper()
	eventually(t, patience, func() error {
		var s boxStatus
		if err := b.tryCall(http.MethodGet, "/status", nil, &s); err != nil {
			return err
		}
		if !s.InForce {
			return fmt.Errorf("the settings are not in force: %+v", s)
		}
		return nil
	})
}

// process is the number of the process that the lab runs as `breakwater NAME`.
func (b *box) process(t testing.TB, name string) int {
	t.Helper()
	pid, err := lab.Child(name)
	must(t, err)
	return pid
}
