//go:build e2e

package browser

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"breakwater/appliance/control/edgetest"
)

// watch notes what no page of the box may do, whatever a test is about.
type watch struct {
	home string

	mu       sync.Mutex
	problems []string
	lastCode int64 // of the last page
	away     bool  // the box cannot be reached, as the test wants it
}

func newWatch(home string) *watch { return &watch{home: home} }

// begin lets the page report, and fails the test at its end for all that was noted.
func (w *watch) begin(t testing.TB, ctx context.Context) {
	t.Helper()
	w.listen(t, ctx)
	t.Cleanup(func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, p := range w.problems {
			t.Errorf("the page misbehaved: %s", p)
		}
	})
}

func (w *watch) listen(t testing.TB, ctx context.Context) {
	t.Helper()
	must(t, chromedp.Do(ctx))
	_, err := chromedp.Call(ctx, audits.Enable, struct{}{})
	must(t, err)
}

// hear gets every event of the page.
func (w *watch) hear(event any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		w.asked(e.Request.URL, e.DocumentURL)
	case *network.EventResponseReceived:
		w.answered(e)
	case *log.EventEntryAdded:
		// What the network answered is told by its own event, with the page that may be an error page.
		if e.Entry.Source != log.EntrySourceNetwork && e.Entry.Level != log.EntryLevelVerbose {
			w.note("%s: %s %s", e.Entry.Source, e.Entry.Text, e.Entry.URL)
		}
	case *runtime.EventConsoleAPICalled:
		w.printed(e)
	case *runtime.EventExceptionThrown:
		w.note("an exception: %s %s", e.ExceptionDetails.Text, describe(e.ExceptionDetails.Exception))
	case *page.EventJavascriptDialogOpening:
		w.note("a dialog: %s", e.Message)
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeContentSecurityPolicyIssue {
			w.note("the content security policy stopped something: %s", issue(e.Issue.Details))
		}
	}
}

// note keeps a problem once, however often it comes.
func (w *watch) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(w.problems, text) {
		w.problems = append(w.problems, text)
	}
}

// asked expects requests to the box only; what has no host never leaves the browser.
func (w *watch) asked(url, from string) {
	for _, own := range []string{w.home + "/", strings.Replace(w.home, "127.0.0.1", "localhost", 1) + "/", "data:", "blob:", "about:"} {
		if strings.HasPrefix(url, own) {
			return
		}
	}
	w.note("%s asked another origin for %s", from, url)
}

// answered expects that what a page asks for is there. A page itself may say that something is wrong.
func (w *watch) answered(e *network.EventResponseReceived) {
	if e.Type == network.ResourceTypeDocument {
		w.lastCode = e.Response.Status
		return
	}
	if e.Response.Status >= 400 && !w.away {
		w.note("the page asked for %s and got %d", e.Response.URL, e.Response.Status)
	}
}

func (w *watch) printed(e *runtime.EventConsoleAPICalled) {
	switch e.Type {
	case runtime.ConsoleAPICalledTypeError, runtime.ConsoleAPICalledTypeWarning, runtime.ConsoleAPICalledTypeAssert:
	default:
		return
	}
	var words []string
	for _, arg := range e.Args {
		words = append(words, describe(arg))
	}
	w.note("console %s: %s", e.Type, strings.Join(words, " "))
}

func describe(o *runtime.RemoteObject) string {
	if o == nil {
		return ""
	}
	if o.Description != "" {
		return o.Description
	}
	return string(o.Value)
}

func issue(d *audits.InspectorIssueDetails) string {
	if d == nil || d.ContentSecurityPolicyIssueDetails == nil {
		return "it does not say what"
	}
	c := d.ContentSecurityPolicyIssueDetails
	where := ""
	if l := c.SourceCodeLocation; l != nil {
		where = fmt.Sprintf("%s:%d", l.URL, l.LineNumber)
	}
	return fmt.Sprintf("%s %s %s", c.ViolatedDirective, c.BlockedURL, where)
}

// code is the HTTP status of the page that is shown.
func (w *watch) code() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.lastCode
}

// lose tells that the box cannot be reached for a while, which its pages will notice.
func (w *watch) lose(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
}

// TestWatchSees: what the watch of every page is there for.
func TestWatchSees(t *testing.T) {
	b, _ := standIn(t, edgetest.Start(t))
	p := b.open(t)
	p.visit("/claim")
	for _, tt := range []struct{ name, does, noted string }{
		{"an attribute that is a script", `document.body.setAttribute("onclick", "alert(1)"), document.body.click(), true`, "script-src-attr"},
		{"a script in the page", `document.body.append(Object.assign(document.createElement("script"), {text: "alert(1)"})), true`, "script-src-elem"},
		{"another origin", `fetch("https://198.51.100.1/").then(() => true, () => true)`, "198.51.100.1"},
		{"what is not there", `fetch("/nothing").then(() => true)`, "/nothing and got 404"},
		{"an error that is logged", `console.error("it broke"), true`, "it broke"},
		{"an exception", `setTimeout(() => { throw new Error("thrown"); }), true`, "thrown"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ask[bool](p, tt.does)
			eventually(t, patience, func() error {
				if noted := strings.Join(p.take(), "\n"); !strings.Contains(noted, tt.noted) {
					return fmt.Errorf("noted %q, want %q", noted, tt.noted)
				}
				return nil
			})
		})
	}
	p.take()
}

// take is what was noted so far, which does not fail the test any more.
func (w *watch) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	taken := w.problems
	w.problems = nil
	return taken
}
