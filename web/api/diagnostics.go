package api

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"runtime"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// GetDiagnostics answers a zip that can be sent to somebody for help: what is wanted, what is observed, what happened
// lately. It holds no secret, whatever an operator typed into a reason or a program wrote into the log.
func (a *API) GetDiagnostics(c echo.Context) error {
	files, err := a.diagnostics(c)
	if err != nil {
		return err
	}
	attach(c, "breakwater-diagnostics", "zip", "application/zip")
	return pack(c.Response(), files, time.Now())
}

// diagnosticFile is one file of the bundle.
type diagnosticFile struct {
	name    string
	content any // written as JSON
}

func (a *API) diagnostics(c echo.Context) ([]diagnosticFile, error) {
	ctx := c.Request().Context()
	status, err := a.Control.Status(ctx)
	if err != nil {
		return nil, err
	}
	current, err := a.Control.Current()
	if err != nil && !errors.Is(err, control.ErrNotFound) {
		return nil, err
	}
	revisions, err := a.Control.Revisions()
	if err != nil {
		return nil, err
	}
	lines, err := a.Control.Logs(ctx)
	if err != nil {
		return nil, err
	}
	bans, err := a.Control.Bans()
	if err != nil {
		return nil, err
	}
	version := map[string]string{"version": status.Version, "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	return []diagnosticFile{
		{"version.json", version},
		{"status.json", status},
		{"settings.json", json.RawMessage(current.Document)},
		{"revisions.json", list(revisions)},
		{"bans.json", list(bans)},
		{"samples.json", a.Control.Samples(time.Time{})},
		{"origins.json", a.Control.OriginHistory()},
		{"logs.json", lines},
		{"audit.json", a.auditCheck()},
	}, nil
}

func pack(out io.Writer, files []diagnosticFile, now time.Time) error {
	archive := zip.NewWriter(out)
	for _, f := range files {
		text, err := json.MarshalIndent(f.content, "", "  ")
		if raw, ok := f.content.(json.RawMessage); ok && len(raw) == 0 {
			text, err = []byte("null"), nil // no settings yet
		}
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		w, err := archive.CreateHeader(&zip.FileHeader{Name: "breakwater-diagnostics/" + f.name, Method: zip.Deflate, Modified: now.UTC()})
		if err != nil {
			return err
		}
		if _, err := w.Write(Redact(text)); err != nil {
			return err
		}
	}
	return archive.Close()
}

// redactions find what must not leave the box, by its form: a secret can be anywhere that an operator or a program may
// write text. What a name promises to be secret goes as well.
var redactions = []struct {
	find    *regexp.Regexp
	replace string
}{
	{regexp.MustCompile(`\b(?:bw_[A-Za-z0-9_-]{20,}|breakwater_[0-9a-f]{32,})`), "[token]"},
	{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|")`), `[private key]`},
	{regexp.MustCompile(`(?i)\b(bearer|basic) +[A-Za-z0-9._~+/=-]{8,}`), "$1 [secret]"},
	{regexp.MustCompile(`\b[0-9A-Z]{4}-[0-9A-Z]{4}-[0-9A-Z]{4}\b`), "[setup code]"},
	{regexp.MustCompile(`://[^/\s"@]+@`), "://[secret]@"},
	{regexp.MustCompile(`(?i)((?:__Host-)?breakwater=)[A-Za-z0-9_-]{16,}`), "$1[secret]"},
	{regexp.MustCompile(`(?i)("[a-z_-]*(?:password|passphrase|secret|private|cookie|token|authorization)"\s*:\s*)"(?:[^"\\]|\\.)*"`), `$1"[secret]"`},
	{regexp.MustCompile(`(?i)\b((?:password|passphrase|secret|token|api[_-]?key)\s*[=:]\s*)[^\s"\\,;&]+`), "$1[secret]"},
}

// Redact takes what must not leave the box out of a text.
func Redact(text []byte) []byte {
	for _, r := range redactions {
		text = r.find.ReplaceAll(text, []byte(r.replace))
	}
	return text
}
