package pages

import (
	"encoding/hex"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// tryView is what came of trying the origins of a service.
type tryView struct {
	Service string
	Done    bool
	Trials  []tryResult
}

type tryResult struct{ control.OriginTrial }

// ServiceTryPage offers the test.
func (p *Pages) ServiceTryPage(c echo.Context) error {
	now, _, err := p.current()
	if err != nil {
		return err
	}
	if serviceAt(now, c.Param("name")) < 0 {
		return echo.ErrNotFound
	}
	return p.render(c, http.StatusOK, "servicetry", tryView{Service: c.Param("name")})
}

// ServiceTry connects to every origin of a service as one of its sessions would, and shows what the origin saw.
func (p *Pages) ServiceTry(c echo.Context) error {
	trials, err := p.Control.TryService(c.Request().Context(), c.Param("name"))
	if err != nil {
		return err
	}
	view := tryView{Service: c.Param("name"), Done: true}
	for _, t := range trials {
		view.Trials = append(view.Trials, tryResult{t})
	}
	return p.render(c, http.StatusOK, "servicetry", view)
}

// HeaderHex is the header byte for byte.
func (t tryResult) HeaderHex() string { return hex.Dump(t.HeaderSent) }

// Answer is what the origin said, if it is text.
func (t tryResult) Answer() string {
	if len(t.Received) == 0 || !printable(string(t.Received)) {
		return ""
	}
	return string(t.Received)
}

// AnswerHex is what the origin said, byte for byte.
func (t tryResult) AnswerHex() string { return hex.Dump(t.Received) }

// printable tells whether text can be shown as it is. The last character of an answer that was cut may be half of one.
func printable(text string) bool {
	for cut := 0; cut < utf8.UTFMax && !utf8.ValidString(text) && len(text) > 0; cut++ {
		text = text[:len(text)-1]
	}
	return text != "" && utf8.ValidString(text) && !strings.ContainsFunc(text, func(r rune) bool {
		return !unicode.IsPrint(r) && !strings.ContainsRune("\t\r\n", r)
	})
}
