package api_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/logs"
	"breakwater/web/webtest"
)

// TestDiagnosticsHoldNoSecret plants secrets wherever text can be written.
func TestDiagnosticsHoldNoSecret(t *testing.T) {
	b := newBox(t)
	setup := b.Access.SetupCode()
	anna := b.browser("anna", access.Admin)
	_, token, err := b.Access.CreateToken(access.Local(), access.Peer{}, access.NewToken{Name: "leaked", Role: access.Admin})
	if err != nil {
		t.Fatal(err)
	}
	cookie := strings.TrimPrefix(anna.header.Get("Cookie"), "__Host-breakwater=")
	b.Edge.Observe(full())
	b.Edge.Log(
		logs.Record{Time: time.Now(), Level: "INFO", Message: "called with Authorization: Bearer " + token, Attrs: map[string]string{"password": "hunter2-hunter2"}},
		logs.Record{Time: time.Now(), Level: "INFO", Message: "cookie __Host-breakwater=" + cookie + " password=hunter3-hunter3", Attrs: map[string]string{}},
		logs.Record{Time: time.Now(), Level: "INFO", Message: "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----", Attrs: map[string]string{"url": "https://anna:hunter4@acme.example/dir"}},
		logs.Record{Time: time.Now(), Level: "INFO", Message: "setup code " + setup + " shown", Attrs: map[string]string{}},
	)
	local := b.local()
	local.call("PUT", "/api/v1/settings?reason=for+"+token, webtest.Document).want(200, "")
	a := local.call("GET", "/api/v1/diagnostics", "").want(200, "")
	files := unzip(t, a.body)
	for _, name := range []string{"version", "status", "settings", "revisions", "bans", "samples", "origins", "logs", "audit"} {
		text, ok := files["breakwater-diagnostics/"+name+".json"]
		if !ok || !json.Valid(text) {
			t.Errorf("%s.json is %q", name, text)
		}
	}
	for name, text := range files {
		for _, secret := range []string{token, cookie, "hunter2", "hunter3", "hunter4", "MIGHAgEAMBMG", setup, webtest.Password} {
			if bytes.Contains(text, []byte(secret)) {
				t.Errorf("%s holds %q: %s", name, secret, text)
			}
		}
	}
	if text := files["breakwater-diagnostics/logs.json"]; !bytes.Contains(text, []byte("called with Authorization")) {
		t.Errorf("the log lost more than its secrets: %s", text)
	}
}

func unzip(t *testing.T, data []byte) map[string][]byte {
	t.Helper()
	archive, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for _, f := range archive.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = text
	}
	return files
}
