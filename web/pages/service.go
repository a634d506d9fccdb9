package pages

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
)

// newPool is the value of the pool's select that stands for a pool with one origin, made with the service. No pool can
// have it as its name.
const newPool = "+"

// serviceView is the form of one service.
type serviceView struct {
	Form   form
	Base   uint64
	Name   string // of the service as it is; empty: a new one
	Pool   choice
	Others []settings.Problem // problems that are not of this form
	Edge   string             // the edge addresses, which are taken when none are given
	More   bool               // something behind "more" is set or wrong
	Shield bool               // something of the shield is
	Rules  []ruleView
	// Presets are what a new service can begin as, and Notes what is to know of the one that it did.
	Presets []settings.Preset
	Notes   []string
}

// serviceInputs are the inputs of the form, for the problems that none of them shows.
var serviceInputs = append([]string{"name", "protocols", "ports", "addresses", "pool", "origin", "tcpHeader", "udpHeader", "upstreams"}, slices.Concat(serviceMore, serviceShield)...)

// serviceShield are those of the shield besides the packet rules, out of sight as well.
var serviceShield = []string{"shield.reflectors", "shield.synCookies", "shield.synRate"}

// serviceMore are those that are out of sight at first.
var serviceMore = []string{"headerTlvs", "transparent", "path",
	"timeouts.connect", "timeouts.firstByte", "timeouts.header", "timeouts.idle", "timeouts.halfClose", "timeouts.writeStall", "timeouts.flowIdle",
	"limits.maxSessions", "limits.maxSessionsPerAddress", "limits.maxSessionsPerNetwork", "limits.newSessionsPerAddress",
	"limits.maxFlows", "limits.newFlowsPerSecond", "limits.newClientsPerSecond", "limits.maxAmplification"}

// ServiceForm shows a service to be edited, or a new one, which ?copy= makes from another and ?preset= from what is known
// about a kind of server.
func (p *Pages) ServiceForm(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	name := c.Param("name")
	s := startOf(now, c.QueryParam("preset"))
	if from := cmp.Or(name, c.QueryParam("copy")); from != "" {
		at := serviceAt(now, from)
		if at < 0 {
			return echo.ErrNotFound
		}
		s = now.Services[at]
	}
	taken := func(n string) bool { return serviceAt(now, n) >= 0 }
	if name == "" && taken(s.Name) {
		s.Name = freeName(s.Name, taken)
	}
	values := serviceValues(s)
	values.Set("preset", c.QueryParam("preset"))
	return p.showService(c, http.StatusOK, now, serviceView{Form: form{Values: values}, Base: base, Name: name})
}

// startOf is what a new service begins as.
func startOf(now settings.Settings, preset string) settings.Service {
	if known := presetOf(preset); known.ID == preset {
		return settings.Service{Name: known.ID, Protocols: known.Protocols, Ports: known.Ports, Pool: newPool,
			TCPHeader: known.TCPHeader, UDPHeader: known.UDPHeader}
	}
	s := settings.Service{Protocols: []string{"tcp"}, Pool: newPool}
	if len(now.Pools) > 0 {
		s.Pool = now.Pools[0].Name
	}
	return s
}

// showService fills in what the form needs besides its values.
func (p *Pages) showService(c echo.Context, status int, now settings.Settings, view serviceView) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	if preset := presetOf(view.Form.Value("preset")); preset.ID == view.Form.Value("preset") {
		view.Notes = preset.Notes
	}
	if view.Name == "" {
		view.Presets = settings.Presets()
	}
	view.Pool = p.choice(view.Form, "pool", "services.pool")
	for _, pool := range now.Pools {
		view.Pool.Options = append(view.Pool.Options, option{pool.Name, pool.Name})
	}
	view.Pool.Options = append(view.Pool.Options, option{newPool, p.text.say("services.pool.new")})
	view.Rules = rulesOfForm(view.Form, view.Name, seen.Edge)
	view.Others = p.placed(view.Form.Others(slices.Concat(serviceInputs, ruleNames(view.Form.Values))...), now)
	view.Edge = prefixText(now.Edge.Addresses)
	view.More = slices.ContainsFunc(serviceMore, func(name string) bool {
		v := view.Form.Value(name)
		return view.Form.Problem(name) != "" || v != "" && !(name == "path" && v == "auto")
	})
	view.Shield = len(view.Rules) > 0 || view.Form.Problem(rulesField) != "" || view.Form.Value("do") != "" || slices.ContainsFunc(serviceShield, func(name string) bool {
		v := view.Form.Value(name)
		return view.Form.Problem(name) != "" || v != "" && v != "drop" && v != "auto"
	})
	return p.renderSeen(c, status, "service", seen, view)
}

// ServiceSave takes the form: the review, or the form again with what is wrong.
func (p *Pages) ServiceSave(c echo.Context) error {
	values, base, now, err := p.sent(c)
	if err != nil {
		return err
	}
	if editRules(values) {
		return p.showService(c, http.StatusOK, now, serviceView{Form: form{Values: values}, Base: base, Name: c.Param("name")})
	}
	dropEmptyRules(values)
	draft := now
	draft.Services, draft.Pools = slices.Clone(now.Services), slices.Clone(now.Pools)
	at := serviceAt(now, c.Param("name"))
	if c.Param("name") == "" || at < 0 { // one that somebody else removed meanwhile comes back
		at = len(draft.Services)
		draft.Services = append(draft.Services, settings.Service{})
	}
	t := typed{values: values}
	draft.Services[at] = t.service(draft.Services[at])
	if values.Get("pool") == newPool {
		draft = withNewPool(draft, at, originOf(t.text("origin")), values.Get("preset"))
	} else if t.text("origin") != "" {
		t.wrong("origin", p.text.say("services.origin.unused"))
	}
	problems, err := p.review(c, t.with(ofService(draft.Validate(), at, len(now.Pools))), draft, base, "/services")
	if len(problems) == 0 {
		return err
	}
	view := serviceView{Form: form{Values: values, Problems: problems}, Base: base, Name: c.Param("name")}
	return p.showService(c, http.StatusUnprocessableEntity, now, view)
}

// service reads the form into a service; what was spelled out although it is the default stays so.
func (t *typed) service(was settings.Service) settings.Service {
	s := was
	s.Name = t.text("name")
	s.Protocols = t.boxes("protocols")
	s.Ports = t.ports("ports")
	s.Addresses = list[settings.Prefix](t, "addresses")
	s.Pool = t.text("pool")
	s.Path = t.chosen("path", was.Path, "auto")
	s.TCPHeader = t.chosen("tcpHeader", was.TCPHeader, "none")
	s.UDPHeader = t.chosen("udpHeader", was.UDPHeader, "none")
	s.HeaderTLVs = t.boxes("headerTlvs")
	s.Transparent = t.on("transparent")
	s.Upstreams = list[settings.Prefix](t, "upstreams")
	s.Timeouts = settings.Timeouts{
		Connect:    one[settings.Duration](t, "timeouts.connect"),
		FirstByte:  one[settings.Duration](t, "timeouts.firstByte"),
		Header:     one[settings.Duration](t, "timeouts.header"),
		Idle:       one[settings.Duration](t, "timeouts.idle"),
		HalfClose:  one[settings.Duration](t, "timeouts.halfClose"),
		WriteStall: one[settings.Duration](t, "timeouts.writeStall"),
		FlowIdle:   one[settings.Duration](t, "timeouts.flowIdle"),
	}
	for name, n := range serviceBoundsOf(&s.Limits) {
		*n = t.number("limits." + name)
	}
	s.Shield.Reflectors = t.chosen("shield.reflectors", was.Shield.Reflectors, "drop")
	s.Shield.SYNCookies = t.chosen("shield.synCookies", was.Shield.SYNCookies, "auto")
	s.Shield.SYNRate = t.number("shield.synRate")
	s.Shield.PacketRules = t.rules(was.Shield.PacketRules)
	return s
}

// serviceValues is a service as its form shows it.
func serviceValues(s settings.Service) url.Values {
	values := url.Values{
		"name": {s.Name}, "protocols": s.Protocols, "ports": {joined(s.Ports)}, "addresses": {prefixText(s.Addresses)},
		"pool": {s.Pool}, "path": {cmp.Or(s.Path, "auto")},
		"tcpHeader": {cmp.Or(s.TCPHeader, "none")}, "udpHeader": {cmp.Or(s.UDPHeader, "none")},
		"headerTlvs": s.HeaderTLVs, "transparent": {checkedText(s.Transparent)}, "upstreams": {prefixText(s.Upstreams)},
		"timeouts.connect": {durationField(s.Timeouts.Connect)}, "timeouts.firstByte": {durationField(s.Timeouts.FirstByte)}, "timeouts.header": {durationField(s.Timeouts.Header)},
		"timeouts.idle": {durationField(s.Timeouts.Idle)}, "timeouts.halfClose": {durationField(s.Timeouts.HalfClose)},
		"timeouts.writeStall": {durationField(s.Timeouts.WriteStall)}, "timeouts.flowIdle": {durationField(s.Timeouts.FlowIdle)},
		"shield.reflectors": {cmp.Or(s.Shield.Reflectors, "drop")},
		"shield.synCookies": {cmp.Or(s.Shield.SYNCookies, "auto")}, "shield.synRate": {numberField(s.Shield.SYNRate)},
	}
	for name, n := range serviceBoundsOf(&s.Limits) {
		values.Set("limits."+name, numberField(*n))
	}
	ruleValues(values, s.Shield.PacketRules)
	return values
}

func checkedText(on bool) string {
	if on {
		return "on"
	}
	return ""
}

// withNewPool gives the service a pool of its own with one origin, checked as the preset says if there is one.
func withNewPool(s settings.Settings, at int, origin settings.Origin, preset string) settings.Settings {
	taken := func(name string) bool {
		return slices.ContainsFunc(s.Pools, func(p settings.Pool) bool { return p.Name == name })
	}
	name := cmp.Or(s.Services[at].Name, "pool") // a service without a name has that as its problem
	if taken(name) {
		name = freeName(name, taken)
	}
	pool := settings.Pool{Name: name, Origins: []settings.Origin{origin}}
	if known := presetOf(preset); known.ID == preset {
		pool.Health = healthFor(known, origin.Port)
	}
	s.Pools = append(s.Pools, pool)
	s.Services[at].Pool = name
	return s
}

// originOf reads address:port, with brackets around IPv6 addresses; text that is none of it is the address.
func originOf(text string) settings.Origin {
	at := strings.LastIndexByte(text, ':')
	if at < 0 || strings.Contains(text[:at], ":") && !strings.HasSuffix(text[:at], "]") {
		return settings.Origin{Address: strings.Trim(text, "[]")}
	}
	var port settings.Ports
	if port.UnmarshalText([]byte(text[at+1:])) != nil {
		return settings.Origin{Address: text}
	}
	return settings.Origin{Address: strings.Trim(text[:at], "[]"), Port: port}
}

// ofService brings the problems of one service and of the pool that is made with it to the fields of the form.
func ofService(problems []settings.Problem, service, pool int) []settings.Problem {
	own := elementAt("pools", pool)
	problems = slices.Clone(problems)
	for i, p := range problems { // what is wrong with a rule as a whole stands where one says what it does
		if strings.HasPrefix(p.Field, elementAt("services", service)+"."+rulesField+"[") && strings.HasSuffix(p.Field, "]") {
			problems[i].Field += ".action"
		}
	}
	var of []settings.Problem
	for _, p := range relative(problems, elementAt("services", service)) {
		if strings.HasPrefix(p.Field, own+".origins") {
			p.Field = "origin"
		}
		if p.Field != own+".name" { // it has that of the service, which has the same problem
			of = append(of, p)
		}
	}
	return of
}

// elementAt is the path of an element of a list of the document.
func elementAt(list string, at int) string { return list + "[" + strconv.Itoa(at) + "]" }

// freeName is name-2, name-3 … whichever nobody has. Names have a longest length, which a number must not exceed.
func freeName(name string, taken func(string) bool) string {
	for n := 2; ; n++ {
		end := "-" + strconv.Itoa(n)
		if free := name[:min(len(name), maxName-len(end))] + end; !taken(free) {
			return free
		}
	}
}

// maxName is the longest name of a service or pool that the settings take, in bytes.
const maxName = 40
