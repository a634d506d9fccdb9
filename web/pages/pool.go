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

// poolView is the form of one pool with a row for each origin.
type poolView struct {
	Form   form
	Base   uint64
	Name   string // of the pool as it is; empty: a new one
	Rows   []rowView
	Others []settings.Problem
	UsedBy []string
	More   bool // something of the health check is set or wrong
	From   bool // the same of source addresses
}

// rowView is one origin of the form.
type rowView struct {
	Form   form
	Number int    // from 1
	At     string // in front of the names of its inputs: origins[0]
	More   bool   // something out of sight at first is set or wrong
}

// maxRows bounds the rows of a form: as many as a document may have origins.
const maxRows = 4096

var poolFields = append([]string{"name", "choice", "sourceAddresses", "origins"}, poolMore...)

var poolMore = []string{"health.check", "health.header", "health.port", "health.interval", "health.timeout", "health.rise", "health.fall"}

// rowFields are the inputs of an origin; those from rowMore on are out of sight at first.
var rowFields = []string{"address", "port", "name", "weight", "state", "record", "maxSessions"}

var poolRows = rows{list: "origins", input: "rows", fields: append([]string{"was"}, rowFields...), least: 1, most: maxRows}

const rowMore = 3

// PoolForm shows a pool to be edited, or a new one.
func (p *Pages) PoolForm(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	pool := settings.Pool{Origins: make([]settings.Origin, 1)}
	if name := c.Param("pool"); name != "" {
		at := poolAt(now, name)
		if at < 0 {
			return echo.ErrNotFound
		}
		pool = now.Pools[at]
	}
	return p.showPool(c, http.StatusOK, now, poolView{Form: form{Values: poolValues(pool)}, Base: base, Name: c.Param("pool")})
}

func (p *Pages) showPool(c echo.Context, status int, now settings.Settings, view poolView) error {
	fields := slices.Clone(poolFields)
	for i := range poolRows.count(view.Form.Values) {
		row := rowView{Form: view.Form, Number: i + 1, At: elementAt("origins", i)}
		for n, name := range rowFields {
			name = row.At + "." + name
			fields = append(fields, name)
			value := view.Form.Value(name)
			plain := value == "" || value == "active" || value == "any"
			row.More = row.More || n >= rowMore && (!plain || view.Form.Problem(name) != "")
		}
		view.Rows = append(view.Rows, row)
	}
	view.Others = p.placed(view.Form.Others(fields...), now)
	view.UsedBy = usersOf(now, view.Name)
	view.More = slices.ContainsFunc(poolMore, func(name string) bool {
		v := view.Form.Value(name)
		return view.Form.Problem(name) != "" || v != "" && v != "tcp"
	})
	view.From = view.Form.Value("sourceAddresses")+view.Form.Problem("sourceAddresses") != ""
	return p.render(c, status, "pool", view)
}

// PoolSave takes the form: one more row, one less, the review, or the form again with what is wrong.
func (p *Pages) PoolSave(c echo.Context) error {
	values, base, now, err := p.sent(c)
	if err != nil {
		return err
	}
	view := poolView{Form: form{Values: values}, Base: base, Name: c.Param("pool")}
	switch do, row, _ := strings.Cut(values.Get("do"), " "); do {
	case "add":
		poolRows.add(values)
		return p.showPool(c, http.StatusOK, now, view)
	case "remove":
		poolRows.remove(values, row)
		return p.showPool(c, http.StatusOK, now, view)
	}
	poolRows.keep(values, func(row string, _ int) bool { return !emptyRow(values, row) })
	draft, at := withPool(now, c.Param("pool"))
	t := typed{values: values}
	draft.Pools[at] = t.pool(draft.Pools[at])
	draft.Services = renamedPool(now.Services, c.Param("pool"), draft.Pools[at].Name)
	problems, err := p.review(c, t.with(relative(draft.Validate(), elementAt("pools", at))), draft, base, "/origins")
	if len(problems) == 0 {
		return err
	}
	view.Form.Problems = problems
	return p.showPool(c, http.StatusUnprocessableEntity, now, view)
}

// withPool returns settings whose pool of that name can be changed, and its place; one that is not there is added.
func withPool(s settings.Settings, name string) (settings.Settings, int) {
	s.Pools = slices.Clone(s.Pools)
	at := poolAt(s, name)
	if name == "" || at < 0 { // one that somebody else removed meanwhile comes back
		at = len(s.Pools)
		s.Pools = append(s.Pools, settings.Pool{})
	}
	return s, at
}

// renamedPool lets services follow a pool to its new name.
func renamedPool(services []settings.Service, from, to string) []settings.Service {
	services = slices.Clone(services)
	for i := range services {
		if from != "" && services[i].Pool == from {
			services[i].Pool = to
		}
	}
	return services
}

// pool reads the form into a pool.
func (t *typed) pool(was settings.Pool) settings.Pool {
	pool := settings.Pool{Name: t.text("name"), Choice: t.chosen("choice", was.Choice, "source-hash"), SourceAddresses: list[settings.Addr](t, "sourceAddresses")}
	pool.Health = settings.Health{
		Check:    t.chosen("health.check", was.Health.Check, "tcp"),
		Header:   t.text("health.header"),
		Port:     t.number("health.port"),
		Interval: one[settings.Duration](t, "health.interval"),
		Timeout:  one[settings.Duration](t, "health.timeout"),
		Rise:     t.number("health.rise"),
		Fall:     t.number("health.fall"),
	}
	for i := range poolRows.count(t.values) {
		row := elementAt("origins", i)
		var before settings.Origin
		if at, err := strconv.Atoi(t.text(row + ".was")); err == nil && at >= 0 && at < len(was.Origins) {
			before = was.Origins[at]
		}
		pool.Origins = append(pool.Origins, t.origin(row, before))
	}
	return pool
}

func (t *typed) origin(row string, was settings.Origin) settings.Origin {
	return settings.Origin{
		Name:        t.text(row + ".name"),
		Address:     t.text(row + ".address"),
		Record:      t.chosen(row+".record", was.Record, ""),
		Port:        one[settings.Ports](t, row+".port"),
		Weight:      t.number(row + ".weight"),
		State:       t.chosen(row+".state", was.State, "active"),
		MaxSessions: t.number(row + ".maxSessions"),
	}
}

// poolValues is a pool as its form shows it.
func poolValues(pool settings.Pool) url.Values {
	h := pool.Health
	values := url.Values{
		"name": {pool.Name}, "choice": {cmp.Or(pool.Choice, "source-hash")}, "rows": {strconv.Itoa(len(pool.Origins))},
		"sourceAddresses": {joined(pool.SourceAddresses)},
		"health.check":    {cmp.Or(h.Check, "tcp")}, "health.header": {h.Header}, "health.port": {numberField(h.Port)},
		"health.interval": {durationField(h.Interval)}, "health.timeout": {durationField(h.Timeout)},
		"health.rise": {numberField(h.Rise)}, "health.fall": {numberField(h.Fall)},
	}
	for i, o := range pool.Origins {
		row := elementAt("origins", i) + "."
		for name, value := range map[string]string{
			"was": strconv.Itoa(i), "address": o.Address, "port": o.Port.String(), "name": o.Name, "weight": numberField(o.Weight),
			"state": cmp.Or(o.State, "active"), "record": o.Record, "maxSessions": numberField(o.MaxSessions),
		} {
			values.Set(row+name, value)
		}
	}
	return values
}

// emptyRow tells whether nothing was typed into a row.
func emptyRow(values url.Values, row string) bool {
	return strings.TrimSpace(values.Get(row+".address")+values.Get(row+".name")+values.Get(row+".port")) == ""
}

// PoolRemove shows what removing a pool would change.
func (p *Pages) PoolRemove(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	at := poolAt(now, c.Param("pool"))
	if at < 0 {
		return echo.ErrNotFound
	}
	if users := usersOf(now, c.Param("pool")); len(users) > 0 {
		why := settings.Problem{Text: p.text.say("pool.used", strings.Join(users, ", "))}
		return p.render(c, http.StatusConflict, "refused", refusedView{Problems: []settings.Problem{why}, Back: "/origins"})
	}
	draft := now
	draft.Pools = slices.Delete(slices.Clone(now.Pools), at, at+1)
	return p.reviewOr(c, draft, base, "/origins")
}

// poolAt is the place of a pool, or -1.
func poolAt(s settings.Settings, name string) int {
	return slices.IndexFunc(s.Pools, func(p settings.Pool) bool { return p.Name == name })
}
