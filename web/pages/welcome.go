package pages

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
	"breakwater/web/caller"
)

// The steps of the wizard. It keeps no state on the box: every answer travels in its form, so that it can be left,
// reloaded and begun again at any time, and nothing changes before the summary is applied.
const (
	stepFactor = 1 + iota
	stepNetwork
	stepEdge
	stepGame
	stepOrigin
	stepSummary
)

// stepNames are the steps in the order of their numbers, as their texts are called.
var stepNames = []string{"factor", "network", "edge", "game", "origin", "summary"}

// answers are the fields of each step. What the current step does not show is carried along hidden.
var answers = map[int][]string{
	stepNetwork: append([]string{"networks", "outside"}, fixedFields...),
	stepEdge:    {"interfaces", "otherInterfaces", "address", "addresses"},
	stepGame:    {"preset"},
	stepOrigin:  {"origin", "port", "ports", "tcpHeader", "udpHeader", "transparent", "testPort"},
}

// carried are the fields that no step shows: the revision that the answers are for, and the preset whose ports and
// headers they hold.
var carried = []string{"base", "filled"}

// welcomeView is one step.
type welcomeView struct {
	Form   form
	Step   int
	Name   string
	Steps  []wizardStep
	Kept   []keptField
	Factor factorView

	Peer       netip.Addr   // of the browser
	Network    netip.Prefix // that the browser is likely in
	Outside    bool         // the browser is in none of the networks that were typed
	Fixed      *fixedView   // nil: no address is offered
	Interfaces []edgeInterface
	Presets    []settings.Preset
	Preset     settings.Preset
	Trial      *reachView
	Summary    []string
	Review     reviewView
}

type wizardStep struct {
	Number int
	Name   string
	Here   bool
}

// WelcomePage begins the wizard with what is set now.
func (p *Pages) WelcomePage(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	values := url.Values{"base": {strconv.FormatUint(base, 10)}}
	for step := stepNetwork; step < stepSummary; step++ {
		p.fillStep(c, values, now, step)
	}
	return p.showStep(c, http.StatusOK, form{Values: values}, stepFactor)
}

// Welcome takes the answers of one step and shows another.
func (p *Pages) Welcome(c echo.Context) error {
	typed, err := c.FormParams()
	if err != nil {
		return err
	}
	if _, appliance := p.Control.System(); !appliance {
		for _, name := range fixedFields {
			typed.Del(name)
		}
	}
	step, err := strconv.Atoi(typed.Get("step"))
	if err != nil || step < stepFactor || step > stepSummary {
		step = stepFactor
	}
	action := typed.Get("go")
	if to, ok := strings.CutPrefix(action, "to-"); ok {
		return p.leaveStep(c, typed, step, to)
	}
	switch action {
	case "totp", "enable":
		return p.welcomeFactor(c, typed, action)
	case "back":
		return p.showStep(c, http.StatusOK, form{Values: typed}, max(stepFactor, step-1))
	case "skip":
		return p.skipStep(c, typed, step)
	case "network":
		typed.Set("networks", typed.Get("suggested"))
	case "test":
		return p.testOrigin(c, typed)
	}
	return p.leaveStep(c, typed, step, strconv.Itoa(step+1))
}

// leaveStep goes to another step, unless an answer of this one is wrong. Going back is always possible.
func (p *Pages) leaveStep(c echo.Context, typed url.Values, step int, to string) error {
	target, err := strconv.Atoi(to)
	if err != nil || target < stepFactor || target > stepSummary {
		target = stepSummary
	}
	if target > step {
		problems, err := p.stepProblems(c, typed, step)
		if err != nil {
			return err
		}
		if len(problems) > 0 {
			return p.showStep(c, http.StatusUnprocessableEntity, form{Values: typed, Problems: problems}, step)
		}
	}
	return p.showStep(c, http.StatusOK, form{Values: typed}, target)
}

// skipStep leaves everything that the step is about as it is now.
func (p *Pages) skipStep(c echo.Context, typed url.Values, step int) error {
	now, _, err := p.current()
	if err != nil {
		return err
	}
	for _, name := range answers[step] {
		typed.Del(name)
	}
	if step != stepEdge || len(now.Edge.Addresses) > 0 {
		p.fillStep(c, typed, now, step)
	}
	return p.showStep(c, http.StatusOK, form{Values: typed}, min(stepSummary, step+1))
}

// stepProblems are those that the fields of a step have.
func (p *Pages) stepProblems(c echo.Context, typed url.Values, step int) ([]settings.Problem, error) {
	now, _, err := p.current()
	if err != nil {
		return nil, err
	}
	_, problems := p.draft(typed, now, caller.Of(c.Request().Context()).Peer.Addr)
	return slices.DeleteFunc(problems, func(problem settings.Problem) bool { return !slices.Contains(answers[step], problem.Field) }), nil
}

// showStep renders a step with everything that it suggests.
func (p *Pages) showStep(c echo.Context, code int, f form, step int) error {
	view := welcomeView{Form: f, Step: step, Name: stepNames[step-1], Steps: wizardSteps(step), Peer: caller.Of(c.Request().Context()).Peer.Addr}
	view.Preset = presetOf(f.Value("preset"))
	switch step {
	case stepFactor:
		view.Factor = p.factorNow(c)
	case stepNetwork:
		view.Network = networkOf(view.Peer)
		view.Outside = outside(view.Peer, list[settings.Prefix](&typed{values: f.Values}, "networks"))
		var err error
		if view.Fixed, err = p.offerFixed(c); err != nil {
			return err
		}
	case stepEdge:
		view.Interfaces = edgeInterfaces(p.seenInterfaces(c), f)
	case stepGame:
		view.Presets = settings.Presets()
	case stepOrigin:
		fillFromPreset(f.Values, view.Preset)
	case stepSummary:
		fillFromPreset(f.Values, view.Preset)
		if err := p.summarise(&view, caller.Of(c.Request().Context()).SecondFactor); err != nil {
			return err
		}
		view.Summary = append(view.Summary, p.fixedInWords(c, f.Values)...)
	}
	return p.renderStep(c, code, view)
}

func (p *Pages) renderStep(c echo.Context, code int, view welcomeView) error {
	view.Kept = keptAnswers(view.Form.Values, view.Step)
	return p.render(c, code, "welcome", view)
}

// keptAnswers are the answers of all steps but this one.
func keptAnswers(values url.Values, step int) []keptField {
	names := slices.Clone(carried)
	for s := stepNetwork; s < stepSummary; s++ {
		if s != step {
			names = append(names, answers[s]...)
		}
	}
	var kept []keptField
	for _, name := range names {
		for _, value := range values[name] {
			kept = append(kept, keptField{name, value})
		}
	}
	return kept
}

// seenInterfaces are those of the box; none while the data plane does not answer.
func (p *Pages) seenInterfaces(c echo.Context) []status.Interface {
	s, err := p.status(c.Request().Context())
	if err != nil || s.Edge == nil {
		return nil
	}
	return s.Edge.Interfaces
}

// doneView is the page after the summary was applied.
type doneView struct {
	Services []settings.Service
	Edge     settings.Edge
}

// WelcomeDone tells how to keep what was applied, and what to do next.
func (p *Pages) WelcomeDone(c echo.Context) error {
	s, _, err := p.current()
	if err != nil {
		return err
	}
	return p.render(c, http.StatusOK, "welcomed", doneView{s.Services, s.Edge})
}

// proven runs do at once when the caller has proved itself lately, and asks for the password first otherwise.
func (p *Pages) proven(c echo.Context, do echo.HandlerFunc) error {
	if caller.Of(c.Request().Context()).Fresh(time.Now()) {
		return do(c)
	}
	return p.Prove(c, do)
}

// networkOf is the network that an address is likely in: the usual size of one, /24 or /64. There is none to suggest for
// a browser on the box itself.
func networkOf(a netip.Addr) netip.Prefix {
	if !a.IsValid() || a.IsLoopback() {
		return netip.Prefix{}
	}
	bits := 24
	if a.Is6() {
		bits = 64
	}
	network, _ := a.Prefix(bits) // fits both families
	return network
}
