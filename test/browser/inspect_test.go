//go:build e2e

package browser

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

const (
	screens = "../../build/screens"
	axe     = "../../build/npm/browser/node_modules/axe-core/axe.min.js"
)

// schemes are what a system asks pages for.
var schemes = []string{"light", "dark"}

// What a page keeps folded is opened, and folded again.
const (
	unfold = `window.unfolded = [...document.querySelectorAll('details:not([open])')]; unfolded.forEach(d => d.open = true); true`
	fold   = `unfolded.forEach(d => d.open = false); true`
)

// inspect looks at the page that is open, light and then dark and unfolded, wide and narrow: nothing that keeps people out
// (axe-core), nothing wider than a phone, everything within reach of the keyboard. It leaves pictures.
func (p *browser) inspect(name string) {
	p.t.Helper()
	for _, scheme := range schemes {
		p.scheme(scheme)
		if scheme == "dark" {
			ask[bool](p, unfold)
		}
		p.shoot(name + "-" + scheme + "-1280")
		p.accessible(name + " " + scheme)
		p.resize(narrow)
		p.fits(name)
		p.shoot(name + "-" + scheme + "-360")
		p.resize(wide)
	}
	p.reachable(name)
	ask[bool](p, fold)
}

func (p *browser) shoot(name string) {
	p.t.Helper()
	picture, err := p.picture()
	must(p.t, err)
	must(p.t, os.MkdirAll(screens, 0o755))
	if build, err := os.Stat(filepath.Dir(screens)); err == nil { // the tests are root, but whoever builds cleans up
		owner := build.Sys().(*syscall.Stat_t)
		must(p.t, os.Chown(screens, int(owner.Uid), int(owner.Gid)))
	}
	must(p.t, os.WriteFile(filepath.Join(screens, name+".png"), picture, 0o644))
}

// violation is what axe-core tells of one rule.
type violation struct {
	ID, Impact, Help string
	Nodes            []struct {
		HTML           string
		FailureSummary string
	}
}

// accessible runs axe-core. The debugger may put it into the page; the content security policy stops others.
func (p *browser) accessible(what string) {
	p.t.Helper()
	source, err := os.ReadFile(axe)
	if err != nil {
		p.t.Fatalf("this test needs axe-core from npm: run test/tools/setup test, which installs it: %v", err)
	}
	if !ask[bool](p, "typeof axe === 'object'") {
		ask[bool](p, string(source)+"; true")
	}
	for _, v := range ask[[]violation](p, "axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)") {
		report := p.t.Logf
		if v.Impact == "serious" || v.Impact == "critical" {
			report = p.t.Errorf
		}
		for _, n := range v.Nodes[:min(3, len(v.Nodes))] {
			report("%s: %s (%s, %d times): %s: %.300s: %s", what, v.ID, v.Impact, len(v.Nodes), v.Help, n.HTML, strings.ReplaceAll(n.FailureSummary, "\n", " "))
		}
	}
}

// fits expects no scrolling to the side. A wide table scrolls within its own box.
func (p *browser) fits(name string) {
	p.t.Helper()
	got := ask[int](p, "document.scrollingElement.scrollWidth")
	if got <= narrow.width {
		return
	}
	wide := ask[[]string](p, fmt.Sprintf(`[...document.querySelectorAll('main *')].filter(e => e.getBoundingClientRect().right > %d + 1 && !e.parentElement.closest('.table, pre')).map(e => e.outerHTML.slice(0, 150))`, narrow.width))
	p.t.Errorf("%s: the page is %d px wide on a screen of %d: %.4q", name, got, narrow.width, wide[:min(4, len(wide))])
}

// The keyboard goes through the page. Where Tab stops once for many, one of them counts for all: radio buttons, and
// the rows of a table that arrow keys go through.
const (
	watchFocus = `(() => {
  window.reached = new Map();
  const note = e => {
    const s = getComputedStyle(e);
    reached.set(e, reached.get(e) || s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || s.boxShadow !== 'none');
  };
  document.addEventListener('focusin', e => note(e.target));
  document.addEventListener('keydown', () => document.activeElement !== document.body && note(document.activeElement), true); // styles may come late
  window.usable = [...document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex^="-"])')]
    .filter(e => !e.disabled && !e.closest('[inert], [aria-hidden=true]') && e.checkVisibility({visibilityProperty: true}) && e.getClientRects().length);
  return usable.length;
})()`
	missedFocus = `(() => {
  const group = e => {
    const row = e.tabIndex < 0 && e.closest('tbody')?.querySelector('tr[tabindex="0"]');
    if (row) return [row];
    return e.type === 'radio' ? [...document.querySelectorAll('input[type=radio]')].filter(o => o.name === e.name && o.form === e.form) : [e];
  };
  return usable.filter(e => e.isConnected && !group(e).some(o => reached.has(o))).map(e => 'cannot be reached: ' + e.outerHTML.slice(0, 150))
    .concat([...reached].filter(([e, seen]) => !seen).map(([e]) => 'does not show that it has the focus: ' + e.outerHTML.slice(0, 150)));
})()`
)

// reachable presses Tab until everything on the page must have had the focus.
func (p *browser) reachable(name string) {
	p.t.Helper()
	stops := ask[int](p, watchFocus)
	for range min(stops, 400) + 3 {
		must(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent(kb.Tab)))
	}
	for _, m := range ask[[]string](p, missedFocus) {
		p.t.Errorf("%s: %s", name, m)
	}
}

// firstView is how long the page took to load, in milliseconds, and how far its parts jumped meanwhile (cumulative
// layout shift, https://web.dev/articles/cls; up to 0.1 is good).
type firstView struct{ Load, Shift float64 }

const measureView = `new Promise(done => {
  let Shift = 0;
  new PerformanceObserver(list => { for (const e of list.getEntries()) if (!e.hadRecentInput) Shift += e.value; }).observe({type: 'layout-shift', buffered: true});
  const Load = performance.getEntriesByType('navigation')[0].loadEventEnd;
  setTimeout(() => done({Load, Shift}), 300);
})`
