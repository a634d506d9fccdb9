//go:build e2e

package browser

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

//go:embed find.js
var findScript string

// screen is the size of a window.
type screen struct {
	name          string
	width, height int
}

var (
	wide   = screen{"wide", 1280, 900}
	narrow = screen{"narrow", 360, 800}
)

// browser is one person's browser: a profile of its own with one page.
type browser struct {
	*watch
	t    testing.TB
	ctx  context.Context //nolint:containedctx // is the page: chromedp has no other handle of it
	home string          // https://127.0.0.1:8443
}

// open opens a browser with a fresh profile until the test ends.
func (b *box) open(t testing.TB) *browser {
	t.Helper()
	w := newWatch(b.URL)
	ctx, cancel := chromedp.NewContext(b.chromium, chromedp.WithNewBrowserContext(), chromedp.WithListener(w.hear))
	t.Cleanup(cancel)
	p := &browser{watch: w, t: t, ctx: ctx, home: b.URL}
	w.begin(t, ctx)
	p.resize(wide)
	return p
}

// signIn makes an account, opens a browser and signs in on the page. The name is also the role, if there is such a role.
func (b *box) signIn(t testing.TB, name, role string) *browser {
	t.Helper()
	b.call(t, http.MethodPost, "/accounts", map[string]string{"name": name, "role": role, "password": password}, nil)
	p := b.open(t)
	p.visit("/login")
	p.login(name, password)
	return p
}

func (p *browser) login(name, password string) {
	p.t.Helper()
	p.fill("login.name", name)
	p.fill("login.password", password)
	p.press("Sign in")
}

// visit opens a page by its path and returns when it is loaded.
func (p *browser) visit(path string) {
	p.t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = p.home + path
	}
	if err := p.tryVisit(path); err != nil {
		p.t.Fatalf("open %s: %v", path, err)
	}
}

func (p *browser) tryVisit(url string) error {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Do(ctx, chromedp.Navigate(url))
}

// eval runs an expression in the page; a promise is waited for.
func eval[T any](p *browser, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// ask is eval that must work.
func ask[T any](p *browser, expression string) T {
	p.t.Helper()
	v, err := eval[T](p, expression)
	if err != nil {
		p.t.Fatalf("%.200s: %v", expression, err)
	}
	return v
}

// found is what find.js answers.
type found struct {
	Problem   string
	X, Y      float64
	Tag, Type string
	Checked   bool
	Value     string
}

// find calls a function of find.js until it finds something.
func (p *browser) find(function string, args ...string) (f found) {
	p.t.Helper()
	script := p.script(function, args...)
	eventually(p.t, patience, func() (err error) {
		if f, err = eval[found](p, script); err != nil {
			return err
		}
		if f.Problem != "" {
			return fmt.Errorf("%s on %s: %.1500s", f.Problem, p.path(), p.text())
		}
		return nil
	})
	return f
}

// scope is the optional last argument of what follows: words that tell which row or card is meant.
func scope(area []string) string { return strings.Join(area, " ") }

// click clicks a button or link by its words.
func (p *browser) click(name string, area ...string) {
	p.t.Helper()
	f := p.find("where", "control", name, scope(area))
	must(p.t, chromedp.Do(p.ctx, chromedp.MouseClickXY(f.X, f.Y)))
}

// press is a click that leads to another page; it returns when that is loaded.
func (p *browser) press(name string, area ...string) {
	p.t.Helper()
	p.leave(func() { p.click(name, area...) })
}

// leave does something that leads to another page and returns when that is loaded.
func (p *browser) leave(do func()) {
	p.t.Helper()
	ask[bool](p, "window.old = true")
	do()
	eventually(p.t, 2*patience, func() error {
		loaded, err := eval[bool](p, "!window.old && document.readyState === 'complete'")
		if err == nil && !loaded {
			err = fmt.Errorf("the page stays: %.1500s", p.text())
		}
		return err
	})
}

// fill types into a field, given by its label or its name, instead of what it holds.
func (p *browser) fill(field, text string, area ...string) {
	p.t.Helper()
	f := p.find("where", "field", field, scope(area))
	if f.Tag == "select" {
		if problem := ask[string](p, p.script("choose", field, text, scope(area))); problem != "" {
			p.t.Fatal(problem)
		}
		return
	}
	must(p.t, chromedp.Do(p.ctx, chromedp.MouseClickXY(f.X, f.Y)))
	ask[bool](p, "document.activeElement.select(), true")
	if text == "" {
		must(p.t, chromedp.Do(p.ctx, chromedp.KeyEvent("\b")))
		return
	}
	_, err := chromedp.Call(p.ctx, input.InsertText, input.InsertTextParams{Text: text})
	must(p.t, err)
}

// pick checks one of the boxes or radio buttons that share a name, by its value.
func (p *browser) pick(name, value string) {
	p.t.Helper()
	if f := p.find("where", "option", name, value); !f.Checked {
		must(p.t, chromedp.Do(p.ctx, chromedp.MouseClickXY(f.X, f.Y)))
	}
}

// value is what a field holds.
func (p *browser) value(field string, area ...string) string {
	p.t.Helper()
	return p.find("value", field, scope(area)).Value
}

// problemAt is the problem that is shown at a field, where a screen reader finds it as well.
func (p *browser) problemAt(field string, area ...string) string {
	p.t.Helper()
	return p.find("problem", field, scope(area)).Value
}

// script calls a function of find.js.
func (p *browser) script(function string, args ...string) string {
	p.t.Helper()
	list, err := json.Marshal(args)
	must(p.t, err)
	return fmt.Sprintf("(%s).%s(...%s)", strings.TrimSpace(findScript), function, list)
}

// text is what can be read on the page, with plain spaces between the digits of numbers.
func (p *browser) text() string {
	text, err := eval[string](p, "document.body.innerText")
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(text, "\u202f", " ")
}

func (p *browser) path() string {
	path, err := eval[string](p, "location.pathname + location.search")
	if err != nil {
		return err.Error()
	}
	return path
}

// see waits until all texts can be read on the page.
func (p *browser) see(texts ...string) {
	p.t.Helper()
	p.seeWithin(patience, texts...)
}

func (p *browser) seeWithin(limit time.Duration, texts ...string) {
	p.t.Helper()
	eventually(p.t, limit, func() error {
		read := p.text()
		for _, text := range texts {
			if !strings.Contains(read, text) {
				return fmt.Errorf("%s lacks %q: %.2500s", p.path(), text, read)
			}
		}
		return nil
	})
}

// miss waits until a text cannot be read on the page any more.
func (p *browser) miss(text string) {
	p.t.Helper()
	eventually(p.t, patience, func() error {
		if read := p.text(); strings.Contains(read, text) {
			return fmt.Errorf("%s still has %q: %.2500s", p.path(), text, read)
		}
		return nil
	})
}

// resize gives the page the size of a screen and lets it draw that.
func (p *browser) resize(s screen) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{
		Width: int64(s.width), Height: int64(s.height), DeviceScaleFactor: 1})
	must(p.t, err)
	ask[bool](p, "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => done(true), 50))))")
}

// scheme lets the system ask for dark or light, and for no motion, so that pages show their end state at once.
func (p *browser) scheme(name string) {
	p.t.Helper()
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}, {Name: "prefers-reduced-motion", Value: "reduce"}}})
	must(p.t, err)
}

// picture is the whole page as PNG.
func (p *browser) picture() ([]byte, error) {
	whole := true
	size, err := eval[[]float64](p, "[document.documentElement.scrollWidth, Math.min(document.documentElement.scrollHeight, 6000)]")
	if err != nil {
		return nil, err
	}
	if len(size) != 2 {
		return nil, errors.New("the page has no size")
	}
	shot, err := chromedp.Call(p.ctx, page.CaptureScreenshot, page.CaptureScreenshotParams{
		CaptureBeyondViewport: &whole, OptimizeForSpeed: &whole,
		Clip: &page.Viewport{Width: size[0], Height: size[1], Scale: 1}})
	return shot.Data, err
}
