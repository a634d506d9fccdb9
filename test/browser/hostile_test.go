//go:build e2e

package browser

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/health"
	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

// corpus is what people write who hope that a page believes it. Each has a word to look for.
var corpus = []string{
	`alpha<script>alert(1)</script>`,
	`bravo"><img src=x onerror=alert(1)>`,
	`charlie'><svg onload=alert(1)>`,
	`delta</title></textarea></pre><script>alert(1)</script>`,
	`echo --><script>alert(1)</script>`,
	`foxtrot javascript:alert(1)`,
	`golf{{constructor.constructor('alert(1)')()}}`,
	"hotel`${alert(1)}`",
	`india<a href="javascript:alert(1)">x</a>`,
	`juliett<iframe srcdoc="<script>alert(1)</script>"></iframe>`,
	`kilo&lt;script&gt;alert(1)&lt;/script&gt;`,
	"lima\u202e>tpircs<",
	`mike<style>*{display:none}</style>`,
	`november<base href=https://example.org/>`,
	`oscar<form action=https://example.org/><button>x`,
	"papa\x00<b>\x1b[31m",
}

// hostile is the n-th of the corpus, over and over.
func hostile(n int) string { return corpus[n%len(corpus)] }

// injected are elements that only an attack could have made.
const injected = `[...document.querySelectorAll("[onerror], [onload], iframe, base, main style, main script, [href^='javascript:'], [action*='example.org']")].map(e => e.outerHTML)`

// TestHostileNames: whatever strangers can write into a log, a name or a reason is text on every page that shows it. That
// nothing ran and nothing was asked of others is watched by every browser of these tests.
func TestHostileNames(t *testing.T) {
	edge := edgetest.Start(t)
	infest(edge)
	b, _ := standIn(t, edge)
	settings := strings.Replace(webtest.Document, `"pools": [`, `"pools": [ { "name": "spare", "origins": [ { "address": "10.0.0.30" } ] },`, 1)
	p := b.signIn(t, "anna", "admin")
	p.pretend(t, hostile(1))
	b.call(t, http.MethodPost, "/accounts", map[string]string{"name": "victor", "role": "viewer", "password": password}, nil)
	for n, text := range corpus {
		reason := strings.ReplaceAll(text, "\x00", "")
		b.call(t, http.MethodPost, "/bans", map[string]string{"prefix": netip.AddrFrom4([4]byte{198, 51, 100, byte(n)}).String(), "reason": reason}, nil)
		must(t, b.putFor(strings.ReplaceAll(settings, "1-65535", fmt.Sprintf("1-%d", 1000+n)), reason))
	}
	for _, path := range paths(t) {
		if !strings.HasPrefix(p.kind(path), "text/html") {
			continue
		}
		p.visit(path)
		p.unharmed(path)
	}
	for path, word := range map[string]string{"/": "alpha", "/connections": "bravo", "/changes": "charlie", "/shield": "delta", "/system/logs": "echo"} {
		p.visit(path)
		p.see(word)
	}
	p.visit("/services/everything/test")
	p.press("Run the test")
	p.unharmed("the test of a service")

	for _, text := range corpus {
		for _, path := range []string{"/connections?search=", "/shield?search=", "/login?next=", "/changes?page=", "/nothing/", "/services/"} {
			p.visit(path + url.QueryEscape(text))
			p.unharmed(path + text)
		}
		p.visit("/system/accounts")
		p.fill("account", text)
		p.fill("newPassword", password)
		p.press("Make the account")
		if problem := p.problemAt("account"); problem == "" {
			t.Errorf("%q is taken as a name", text)
		}
		p.unharmed("an account named " + text)
		p.visit("/services/new")
		p.fill("name", text)
		p.press("Review the change")
		if problem := p.problemAt("name"); problem == "" {
			t.Errorf("%q is taken as the name of a service", text)
		}
		p.unharmed("a service named " + text)
	}
}

// putFor makes a document the settings, for a reason.
func (b *box) putFor(document, reason string) error {
	return b.putTo("/api/v1/settings?"+url.Values{"reason": {reason}}.Encode(), document)
}

// unharmed expects that nothing on the page was made by what it shows, and that nothing is hidden by it.
func (p *browser) unharmed(where string) {
	p.t.Helper()
	for _, element := range ask[[]string](p, injected) {
		p.t.Errorf("%s: it became an element: %s", where, element)
	}
	if !ask[bool](p, `document.querySelector("main").checkVisibility() && document.querySelector("main").innerText.length > 20`) {
		p.t.Errorf("%s: the page shows nothing", where)
	}
}

// pretend lets the browser call itself something.
func (p *browser) pretend(t testing.TB, agent string) {
	t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{UserAgent: agent})
	must(t, err)
	p.press("Sign out")
	p.login("anna", password)
}

// infest puts the corpus wherever edge tells something.
func infest(edge *edgetest.Edge) {
	seen := status.Edge{Version: hostile(0), Started: time.Now()}
	var sessions []status.Session
	var records []logs.Record
	for n, text := range corpus {
		s := session(n)
		s.Service, s.Origin, s.State = text, hostile(n+1), hostile(n+2)
		sessions = append(sessions, s)
		records = append(records, logs.Record{Time: time.Now(), Level: "WARN", Message: text, Attrs: map[string]string{text: hostile(n + 1)}})
		seen.Conditions = append(seen.Conditions, health.Condition{Code: "test", Subject: text, Severity: health.Warning, Title: hostile(n + 1), Detail: hostile(n + 2), Since: time.Now()})
		seen.Interfaces = append(seen.Interfaces, status.Interface{Name: text, MAC: hostile(n + 1), Driver: hostile(n + 2), Up: true})
		seen.Pools = append(seen.Pools, status.Pool{Name: text})
	}
	edge.Observe(seen, sessions...)
	edge.Log(records...)
	edge.Answer(func(plan.Try) (status.Trial, error) {
		return status.Trial{Address: hostile(0), Connected: true, HeaderText: hostile(1), HeaderSent: []byte(hostile(2)),
			Received: []byte(strings.Join(corpus, "\n")), Ending: hostile(3), Error: hostile(4)}, nil
	})
}
