package pages

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
)

// limitsView is the form of all limits. Fields are named as the settings name them, limits.maxSessions and
// services[0].limits.maxSessions, and so are the problems that come back.
type limitsView struct {
	Form     form
	Base     string
	Services []serviceFields
}

// serviceFields are the fields of one service; its name goes along, since services can be put in another order meanwhile.
type serviceFields struct{ Name, Prefix string }

// Others are the problems that no field of the form has.
func (v limitsView) Others() []settings.Problem {
	var fields []string
	for name := range v.Form.Values {
		fields = append(fields, name)
	}
	return v.Form.Others(fields...)
}

// boundsOf are the limits of the box by the names of their fields.
func boundsOf(l *settings.Limits) map[string]*int {
	return map[string]*int{
		"maxSessions": &l.MaxSessions, "maxFlows": &l.MaxFlows, "maxFlowsPerSource": &l.MaxFlowsPerSource, "newFlowsPerSecond": &l.NewFlowsPerSecond,
		"packetsPerAddress": &l.PacketsPerAddress, "bytesPerAddress": &l.BytesPerAddress, "newClientsPerAddress": &l.NewClientsPerAddress,
		"packetsPerNetwork": &l.PacketsPerNetwork, "bytesPerNetwork": &l.BytesPerNetwork, "newClientsPerNetwork": &l.NewClientsPerNetwork,
	}
}

func serviceBoundsOf(l *settings.ServiceLimits) map[string]*int {
	return map[string]*int{
		"maxSessions": &l.MaxSessions, "maxSessionsPerAddress": &l.MaxSessionsPerAddress, "maxSessionsPerNetwork": &l.MaxSessionsPerNetwork,
		"newSessionsPerAddress": &l.NewSessionsPerAddress, "maxFlows": &l.MaxFlows, "newFlowsPerSecond": &l.NewFlowsPerSecond,
		"newClientsPerSecond": &l.NewClientsPerSecond, "maxAmplification": &l.MaxAmplification,
	}
}

// LimitsPage is the form as the settings are.
func (p *Pages) LimitsPage(c echo.Context) error {
	s, base, err := p.current()
	if err != nil {
		return err
	}
	values := url.Values{"base": {strconv.FormatUint(base, 10)}}
	fill := func(prefix string, bounds map[string]*int) {
		for name, n := range bounds {
			values.Set(prefix+name, numberField(*n))
		}
	}
	fill("limits.", boundsOf(&s.Limits))
	for i := range s.Services {
		prefix := servicePrefix(i)
		values.Set(prefix+"name", s.Services[i].Name)
		fill(prefix, serviceBoundsOf(&s.Services[i].Limits))
	}
	return p.render(c, http.StatusOK, "limits", limitsOfForm(form{Values: values}))
}

func servicePrefix(i int) string { return "services[" + strconv.Itoa(i) + "].limits." }

// limitsOfForm has the services that the form has, as long as they are counted without a gap.
func limitsOfForm(f form) limitsView {
	v := limitsView{Form: f, Base: f.Value("base")}
	for i := 0; f.Values.Has(servicePrefix(i) + "name"); i++ {
		v.Services = append(v.Services, serviceFields{f.Value(servicePrefix(i) + "name"), servicePrefix(i)})
	}
	return v
}

// Limits reviews what the form would change.
func (p *Pages) Limits(c echo.Context) error {
	values, base, draft, err := p.sent(c)
	if err != nil {
		return err
	}
	view := limitsOfForm(form{Values: values})
	t := typed{values: values}
	read := func(prefix string, bounds map[string]*int) {
		for name, n := range bounds {
			*n = t.number(prefix + name)
		}
	}
	read("limits.", boundsOf(&draft.Limits))
	places := make(map[string]string) // of the draft's services in the form
	for _, fields := range view.Services {
		for i := range draft.Services {
			if draft.Services[i].Name == fields.Name {
				read(fields.Prefix, serviceBoundsOf(&draft.Services[i].Limits))
				places[servicePrefix(i)] = fields.Prefix
			}
		}
	}
	problems, err := p.review(c, t.with(inForm(draft.Validate(), places)), draft, base, "/shield")
	if err != nil || len(problems) == 0 {
		return err
	}
	view.Form.Problems = problems
	return p.render(c, http.StatusUnprocessableEntity, "limits", view)
}

// inForm gives problems of services the places that the form has them at.
func inForm(problems []settings.Problem, places map[string]string) []settings.Problem {
	var out []settings.Problem
	for _, problem := range problems {
		for from, to := range places {
			if rest, ok := strings.CutPrefix(problem.Field, from); ok {
				problem.Field = to + rest
				break
			}
		}
		out = append(out, problem)
	}
	return out
}
