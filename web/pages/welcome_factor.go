package pages

import (
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"github.com/boombuler/barcode/qr"
	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/settings"
	"breakwater/web/caller"
)

// factorView is the second factor of whoever is here: what there is, and what is being set up. The secret travels in the
// form until a code shows that the app has it, so that a wrong code does not make a new one.
type factorView struct {
	Has      bool
	Secret   string // in groups of four, to be typed
	URL      string // otpauth, as the picture has it
	Size     int    // of the picture, in modules, with its quiet zone
	Modules  string // of the picture: the path of its dark squares
	Recovery []string
	Download template.URL // the recovery codes as a text file
}

// quiet is the empty border that ISO/IEC 18004 wants around a QR code, in modules.
const quiet = 4

// factorNow is the second factor of the caller.
func (p *Pages) factorNow(c echo.Context) factorView {
	return factorView{Has: caller.Of(c.Request().Context()).SecondFactor}
}

// startFactor makes a secret for an authenticator app.
func (p *Pages) startFactor(c echo.Context) (factorView, error) {
	who := caller.Of(c.Request().Context())
	setup, err := p.Access.StartTOTP(who.Identity, who.Peer.At)
	if err != nil {
		return factorView{}, err
	}
	return factorOf(setup.URL)
}

// enableFactor makes the app the second factor. A wrong code keeps everything on the page.
func (p *Pages) enableFactor(c echo.Context) (factorView, form, error) {
	who := caller.Of(c.Request().Context())
	f := form{Values: url.Values{"code": {c.FormValue("code")}}}
	codes, err := p.Access.EnableTOTP(who.Identity, who.Peer, c.FormValue("code"))
	if errors.Is(err, access.ErrWrong) || errors.Is(err, access.ErrNotFound) {
		view, readErr := factorOf(c.FormValue("otpauth"))
		key := "factor.wrong"
		if readErr != nil || errors.Is(err, access.ErrNotFound) {
			key = "factor.late"
			if view, readErr = p.startFactor(c); readErr != nil {
				return view, f, readErr
			}
		}
		return view, f.problem("code", p.text.say(key)), nil
	}
	if err != nil {
		return factorView{}, f, err
	}
	return recoveryOf(codes), f, nil
}

// factorOf draws the picture of an otpauth URL.
func factorOf(text string) (factorView, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "otpauth" || u.Query().Get("secret") == "" || len(text) > 500 {
		return factorView{}, badForm("The page that sent this is not from here. Open it again.")
	}
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		return factorView{}, fmt.Errorf("draw the picture of the second factor: %w", err)
	}
	view := factorView{URL: text, Secret: fours(u.Query().Get("secret")), Size: code.Bounds().Dx() + 2*quiet}
	view.Modules = modules(code.Bounds().Dx(), func(x, y int) bool {
		r, _, _, _ := code.At(x, y).RGBA()
		return r == 0
	})
	return view, nil
}

// modules is the path of the dark squares, each run of them in a row as one rectangle.
func modules(size int, dark func(x, y int) bool) string {
	var path strings.Builder
	for y := range size {
		for x := 0; x < size; x++ {
			run := 0
			for x+run < size && dark(x+run, y) {
				run++
			}
			if run > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", x+quiet, y+quiet, run, run)
				x += run
			}
		}
	}
	return path.String()
}

// fours puts a blank behind every four characters, so that a secret can be read and typed.
func fours(text string) string {
	var out strings.Builder
	for i, r := range text {
		if i > 0 && i%4 == 0 {
			out.WriteByte(' ')
		}
		out.WriteRune(r)
	}
	return out.String()
}

// recoveryOf are codes to keep, also as a file: a link that holds it needs neither a script nor a second request.
func recoveryOf(codes []string) factorView {
	text := "Breakwater recovery codes. Each works once in place of the code of the authenticator.\r\n\r\n" + strings.Join(codes, "\r\n") + "\r\n"
	return factorView{Has: true, Recovery: codes, Download: template.URL("data:text/plain;charset=utf-8," + url.PathEscape(text))} //nolint:gosec // our own words and codes
}

// welcomeFactor is the first step of the wizard.
func (p *Pages) welcomeFactor(c echo.Context, answered url.Values, action string) error {
	return p.proven(c, func(c echo.Context) error {
		if action == "totp" {
			view, err := p.startFactor(c)
			if err != nil {
				return err
			}
			return p.showFactorStep(c, http.StatusOK, form{Values: answered}, view)
		}
		view, f, err := p.enableFactor(c)
		if err != nil {
			return err
		}
		return p.showFactorStep(c, statusOf(f), form{Values: answered, Problems: f.Problems}, view)
	})
}

// statusOf is 422 for a form that is shown again with what is wrong.
func statusOf(f form) int {
	if len(f.Problems) > 0 {
		return http.StatusUnprocessableEntity
	}
	return http.StatusOK
}

func (p *Pages) showFactorStep(c echo.Context, status int, f form, factor factorView) error {
	view := welcomeView{Form: f, Step: stepFactor, Name: stepNames[0], Factor: factor, Preset: settings.Preset{}}
	view.Steps = wizardSteps(stepFactor)
	return p.renderStep(c, status, view)
}
