package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/plan"
)

// maxSmall bounds the bodies that are not settings documents or certificates.
const maxSmall = 64 << 10

// readJSON reads the body into v: one JSON value of known fields, at most maxSmall bytes.
func readJSON(c echo.Context, v any) error {
	if err := requireJSON(c); err != nil {
		return err
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.Response(), c.Request().Body, maxSmall))
	if err != nil {
		return err
	}
	if !bytes.HasPrefix(bytes.TrimSpace(body), []byte("{")) {
		return badRequest("The body must be a JSON object.") // null would be read as an empty one
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(v); err != nil {
		return bodyProblem(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return badRequest("The body goes on behind its JSON object.")
	}
	return nil
}

// requireJSON refuses a body that calls itself something else (a form, text). One that does not say what it is may be
// read as what is expected here (RFC 9110 section 8.3); the cross-origin check of package web does not rest on this.
func requireJSON(c echo.Context) error {
	header := c.Request().Header.Get("Content-Type")
	if header == "" {
		return nil
	}
	if kind, _, err := mime.ParseMediaType(header); err != nil || kind != "application/json" {
		return Refuse("media-type", "Send the body as Content-Type: application/json.")
	}
	return nil
}

// bodyProblem words what the decoder says, with the field where it knows it.
func bodyProblem(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return invalid("invalid", wrong.Field, fmt.Sprintf("A JSON %s does not belong here.", wrong.Value))
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return invalid("invalid", strings.Trim(name, `"`), "There is no such field.")
	}
	return badRequest("The body is not the JSON object that this call takes: " + err.Error() + ".")
}

// prefixOf reads a network, or an address as the network of one.
func prefixOf(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%.60q is not an address or network; write it like \"203.0.113.10\" or \"2001:db8::/64\"", text)
	}
	return plan.NormalPrefix(p), nil
}

// sentence is an error as people read it: with a capital letter and a full stop.
func sentence(text string) string {
	first, size := utf8.DecodeRuneInString(text)
	if size == 0 {
		return ""
	}
	text = string(unicode.ToUpper(first)) + text[size:]
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return text
}
