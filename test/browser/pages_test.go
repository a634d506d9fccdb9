//go:build e2e

package browser

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"breakwater/test/lab"
	"breakwater/web/pages"
)

const (
	// maxScripts is what all scripts may weigh, compressed.
	maxScripts = 150_000
	// maxFirstView is in milliseconds. On an idle machine it is a tenth of that.
	maxFirstView = 3000
	// maxShift is up to where layout shifts count as good.
	maxShift = 0.1
)

// shown is what the addresses of pages lead to in a box that was furnished.
var shown = strings.NewReplacer(
	"/services/:name", "/services/everything", ":to", "down", ":mode", "monitor",
	"/origins/:pool/remove", "/origins/spare/remove", "/origins/:pool", "/origins/games", "/changes/:number", "/changes/1", "/incidents/:number", incidentPage,
	"/system/accounts/:name", "/system/accounts/victor", machinePages+":name", machinePages+"office",
)

// TestEveryPage looks at every page of the site map, in a box that has something to show on each. A page that is added
// there is looked at here.
func TestEveryPage(t *testing.T) {
	b := start(t, lab.Options{})
	p := b.signIn(t, "anna", "admin") // the first account is always an admin's
	b.furnish(t)
	var slowest firstView
	for _, path := range paths(t) {
		name := pageName(path)
		t.Run(name, func(t *testing.T) {
			defer func(outer testing.TB) { p.t = outer }(p.t)
			p.t = t
			if kind := p.kind(path); !strings.HasPrefix(kind, "text/html") {
				t.Logf("%s is no page but %s", path, kind)
				return
			}
			p.visit(path)
			if p.code() != http.StatusOK {
				t.Errorf("status %d: %.500s", p.code(), p.text())
			}
			view := ask[firstView](p, measureView)
			if view.Load > maxFirstView || view.Shift > maxShift {
				t.Errorf("the first view took %.0f ms and shifted by %.3f", view.Load, view.Shift)
			}
			slowest.Load, slowest.Shift = max(slowest.Load, view.Load), max(slowest.Shift, view.Shift)
			p.inspect(name)
		})
	}
	t.Logf("the slowest first view took %.0f ms, the greatest shift was %.3f", slowest.Load, slowest.Shift)
}

// kind is the media type of an address, or that it leads elsewhere.
func (p *browser) kind(path string) string {
	p.t.Helper()
	return ask[string](p, `fetch("`+path+`", {redirect: 'manual'}).then(r => r.type === 'opaqueredirect' ? 'a redirect' : r.headers.get('content-type') || 'nothing')`)
}

// paths are the addresses of all pages that every box has; those of the appliance are looked at by TestTheMachine, and that
// of an incident by TestAnAttack.
func paths(t testing.TB) []string {
	return slices.DeleteFunc(allPaths(t), func(path string) bool { return strings.HasPrefix(path, machinePages) || path == incidentPage })
}

// allPaths are those of the appliance as well.
func allPaths(t testing.TB) []string {
	t.Helper()
	var list []string
	for _, r := range (*pages.Pages)(nil).Routes() {
		if r.Method != http.MethodGet {
			continue
		}
		path := shown.Replace(r.Path)
		if strings.Contains(path, ":") {
			t.Errorf("%s: tell this test where that leads", r.Path)
		}
		list = append(list, path)
	}
	return list
}

func pageName(path string) string {
	if path == "/" {
		return "overview"
	}
	return strings.ReplaceAll(strings.Trim(path, "/"), "/", "-")
}

// furnish gives every page something to show: sessions, bans, revisions, accounts, tokens.
func (b *box) furnish(t testing.TB) {
	t.Helper()
	gather(t, wanted{From: b.Client.Addresses[:1], At: netip.AddrPortFrom(b.Edge.Addresses[0], 25565), Many: 12})
	b.call(t, http.MethodPost, "/accounts", map[string]string{"name": "victor", "role": "viewer", "password": password}, nil)
	b.call(t, http.MethodPost, "/tokens", map[string]string{"name": "grafana", "role": "viewer"}, nil)
	b.call(t, http.MethodPost, "/bans", map[string]string{"prefix": "203.0.113.0/24", "for": "24h", "reason": "floods the login"}, nil)
	var document map[string]any
	b.call(t, http.MethodGet, "/settings", nil, &document)
	document["services"].([]any)[1].(map[string]any)["tcpHeader"] = "v2"
	document["pools"] = append(document["pools"].([]any), map[string]any{"name": "spare", "origins": []any{map[string]any{"address": "198.18.2.2"}}})
	b.call(t, http.MethodPut, "/settings?reason=the+game+reads+v2", document, nil)
}

// TestScriptsAreLight: everything that a browser could load, compressed.
func TestScriptsAreLight(t *testing.T) {
	var compressed bytes.Buffer
	err := filepath.WalkDir("../../web/pages/static", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".js" {
			return err
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		w := gzip.NewWriter(&compressed)
		if _, err := w.Write(text); err != nil {
			return err
		}
		return w.Close()
	})
	must(t, err)
	t.Logf("the scripts weigh %d bytes", compressed.Len())
	if compressed.Len() == 0 || compressed.Len() > maxScripts {
		t.Errorf("the scripts weigh %d bytes compressed, want at most %d", compressed.Len(), maxScripts)
	}
}
