package pages

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// reachView is what came of reaching for the origin.
type reachView struct {
	status.Trial
	Time    string // until it was connected, with its unit
	Answer  string // what came back, without anything that does not belong on a page
	Refused string // why nothing was tried
}

// HungUp tells whether the origin took the connection and then broke it off.
func (v reachView) HungUp() bool { return v.Connected && v.Error != "" }

// maxShown bounds what is shown of an answer, in bytes.
const maxShown = 300

// testOrigin reaches for the origin from the box, as the first player would.
func (p *Pages) testOrigin(c echo.Context, answered url.Values) error {
	f := form{Values: answered}
	problems, err := p.stepProblems(c, answered, stepOrigin)
	if err != nil {
		return err
	}
	if f.Value("origin") == "" {
		problems = append(problems, settings.Problem{Field: "origin", Text: p.text.say("welcome.origin.missing")})
	}
	f.Problems = problems
	if len(problems) > 0 {
		return p.showStep(c, http.StatusUnprocessableEntity, f, stepOrigin)
	}
	trial := p.try(c.Request().Context(), answered)
	view := welcomeView{Form: f, Step: stepOrigin, Name: stepNames[stepOrigin-1], Steps: wizardSteps(stepOrigin), Preset: presetOf(f.Value("preset")), Trial: &trial}
	return p.renderStep(c, http.StatusOK, view)
}

func (p *Pages) try(ctx context.Context, answered url.Values) reachView {
	request, ok := tryRequest(answered)
	if !ok {
		return reachView{Refused: p.text.say("welcome.origin.noport")}
	}
	trial, err := p.Control.Try(ctx, request)
	if errors.Is(err, edgelink.ErrUnreachable) {
		return reachView{Refused: p.text.say("welcome.origin.noedge")}
	}
	if err != nil {
		return reachView{Refused: sentence(err)}
	}
	return reachView{Trial: trial, Time: short(trial.ConnectMS) + " ms", Answer: shown(trial.Received)}
}

// tryRequest asks what the preset's servers answer to anybody, with the header that sessions will have.
func tryRequest(answered url.Values) (control.TryRequest, bool) {
	t := typed{values: answered}
	preset := presetOf(t.text("preset"))
	port := preset.Probe.Port
	if own := one[settings.Ports](&t, "port"); own.First != 0 {
		port = own.First
	}
	if n, err := strconv.ParseUint(t.text("testPort"), 10, 16); err == nil && n > 0 {
		port = uint16(n)
	}
	if port == 0 {
		return control.TryRequest{}, false
	}
	request := control.TryRequest{Network: plan.Protocol(preset.Probe.Network), Send: preset.Probe.Send,
		Address: net.JoinHostPort(t.text("origin"), strconv.Itoa(int(port)))}
	request.Header = header(preset, preset.Probe.Network, t.text(preset.Probe.Network+"Header"))
	if request.Header != "none" {
		request.Client, request.Edge = tryEnds(t, port)
	}
	return request, true
}

// tryEnds are a player of the documentation's addresses (RFC 5737, RFC 3849) and what that player dialled.
func tryEnds(t typed, port uint16) (client, edge netip.AddrPort) {
	client, edge = netip.MustParseAddrPort("192.0.2.1:40000"), netip.AddrPortFrom(netip.MustParseAddr("192.0.2.2"), port)
	for _, word := range append(t.boxes("address"), t.words("addresses")...) {
		text, _, _ := strings.Cut(word, "/")
		if a, err := netip.ParseAddr(text); err == nil {
			edge = netip.AddrPortFrom(a, port)
			break
		}
	}
	if edge.Addr().Is6() {
		client = netip.MustParseAddrPort("[2001:db8::1]:40000")
	}
	return client, edge
}

// shown is an answer as people can read it: what is no printable character is a dot.
func shown(data []byte) string {
	text := strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) && r != '\n' {
			return '·'
		}
		return r
	}, strings.ToValidUTF8(string(data[:min(len(data), maxShown)]), "·"))
	if len(data) > maxShown {
		text += "…"
	}
	return text
}

// summarise says in words what would be, and prepares the one button that applies it.
func (p *Pages) summarise(view *welcomeView, factor bool) error {
	now, current, err := p.current()
	if err != nil {
		return err
	}
	draft, problems := p.draft(view.Form.Values, now, view.Peer)
	view.Form.Problems = problems
	view.Summary = p.inWords(draft, view, factor)
	base, err := strconv.ParseUint(view.Form.Value("base"), 10, 64)
	if err != nil {
		base = current
	}
	view.Review = reviewView{Document: string(settings.Encode(draft)), Base: base, Back: "/welcome/done",
		Changes: settings.Diff(now, draft), Cuts: settings.Dangerous(now, draft), Reason: p.text.say("welcome.reason")}
	return nil
}

func (p *Pages) inWords(draft settings.Settings, view *welcomeView, factor bool) []string {
	say := p.text.say
	words := []string{say("welcome.sum.nofactor")}
	if factor {
		words[0] = say("welcome.sum.factor")
	}
	if networks := draft.Management.Networks; len(networks) > 0 {
		words = append(words, say("welcome.sum.networks", prefixText(networks)))
	} else {
		words = append(words, say("welcome.sum.anywhere"))
	}
	if len(draft.Edge.Addresses) > 0 {
		words = append(words, say("welcome.sum.edge", prefixText(draft.Edge.Addresses), strings.Join(draft.Edge.Interfaces, ", ")))
	} else {
		words = append(words, say("welcome.sum.noedge"))
	}
	if view.Form.Value("origin") == "" {
		return append(words, say("welcome.sum.noservice"))
	}
	return append(words, p.serviceInWords(view)...)
}

func (p *Pages) serviceInWords(view *welcomeView) []string {
	say, f, preset := p.text.say, view.Form, view.Preset
	to := f.Value("origin")
	if port := f.Value("port"); port != "" {
		to = net.JoinHostPort(to, port)
	}
	protocols := strings.ToUpper(strings.Join(preset.Protocols, " + "))
	words := []string{say("welcome.sum.service", preset.Name, protocols, f.Value("ports"), to)}
	for _, protocol := range preset.Protocols {
		if h := header(preset, protocol, f.Value(protocol+"Header")); h != "none" {
			words = append(words, say("welcome.sum.header", strings.ToUpper(protocol), h))
		}
	}
	if f.Value("transparent") == "on" {
		words = append(words, say("welcome.sum.transparent"))
	} else if len(words) == 1 {
		words = append(words, say("welcome.sum.noheader"))
	}
	if preset.Health.Check == "tcp" {
		return append(words, say("welcome.sum.health"))
	}
	return append(words, say("welcome.sum.nohealth"))
}

// StepOf is the step where a field is; nil: it is of no step.
func (v welcomeView) StepOf(field string) *wizardStep {
	for number, names := range answers {
		if slices.Contains(names, field) {
			return &v.Steps[number-1]
		}
	}
	return nil
}

func wizardSteps(here int) []wizardStep {
	var steps []wizardStep
	for i, name := range stepNames {
		steps = append(steps, wizardStep{i + 1, name, i+1 == here})
	}
	return steps
}
