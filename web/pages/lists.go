package pages

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// listsView is who is let in and who is turned away by address: what is in force, and the form. Fields are named as the
// settings name them.
type listsView struct {
	Form    form
	Base    uint64
	Others  []settings.Problem
	Rows    []listRow
	Lists   []fileView
	Geo     []fileView
	Hits    []status.SourceCounter
	Refused *refusedFile
}

// listRow is one list of the form.
type listRow struct {
	Form   form
	Number int    // from 1
	At     string // in front of the names of its inputs: shield.lists[0]
}

// fileView is a list, or a file about countries or networks, with when it is asked for again.
type fileView struct {
	control.ListFile
	Next time.Time // zero: never, or as soon as it can be
}

// refusedFile is an upload that was not taken.
type refusedFile struct {
	Name   string
	Why    string
	Broken []control.Broken
	Lines  int
}

// More is how many broken lines are not told.
func (r refusedFile) More() int { return r.Lines - len(r.Broken) }

const (
	listsField = "shield.lists"
	// maxListRows bounds the rows of the form: a few more than the settings take, so that it is told.
	maxListRows = 40
)

var (
	listsFields = []string{listsField, "shield.allow", "shield.deny", "shield.countries.deny", "shield.countries.allow", "shield.countries.url",
		"shield.networks.deny", "shield.networks.allow", "shield.networks.url"}
	listRows = rows{list: listsField, input: "lists", fields: []string{"was", "name", "action", "url", "refresh", "expiry"}, most: maxListRows}
)

// Lists shows what is known of each list, and the form.
func (p *Pages) Lists(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	return p.showLists(c, http.StatusOK, now, listsView{Form: form{Values: listsValues(now.Shield)}, Base: base})
}

func (p *Pages) showLists(c echo.Context, code int, now settings.Settings, view listsView) error {
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return err
	}
	all, geo, err := p.Control.Lists()
	if err != nil {
		return err
	}
	view.Lists, view.Geo = filesOf(all, now.WithDefaults().Shield.Lists), filesOf(geo, nil)
	if seen.Edge != nil {
		view.Hits = seen.Edge.Shield.Addresses
	}
	fields := slices.Clone(listsFields)
	for i := range listRows.count(view.Form.Values) {
		at := elementAt(listsField, i)
		view.Rows = append(view.Rows, listRow{Form: view.Form, Number: i + 1, At: at})
		for _, field := range listRows.fields {
			fields = append(fields, at+"."+field)
		}
	}
	view.Others = p.placed(view.Form.Others(fields...), now)
	return p.renderSeen(c, code, "lists", seen, view)
}

func filesOf(files []control.ListFile, lists []settings.List) []fileView {
	views := make([]fileView, len(files))
	for i, f := range files {
		views[i].ListFile = f
		at := slices.IndexFunc(lists, func(l settings.List) bool { return l.Name == f.Name })
		if at >= 0 && f.URL != "" && !f.Loaded.IsZero() {
			views[i].Next = f.Loaded.Add(time.Duration(lists[at].Refresh))
		}
	}
	return views
}

func listsValues(s settings.Shield) url.Values {
	values := url.Values{
		"shield.allow": {rulesText(s.Allow)}, "shield.deny": {rulesText(s.Deny)}, "lists": {strconv.Itoa(len(s.Lists))},
		"shield.countries.deny": {strings.Join(s.Countries.Deny, ", ")}, "shield.countries.allow": {strings.Join(s.Countries.Allow, ", ")}, "shield.countries.url": {s.Countries.URL},
		"shield.networks.deny": {numbersText(s.Networks.Deny)}, "shield.networks.allow": {numbersText(s.Networks.Allow)}, "shield.networks.url": {s.Networks.URL},
	}
	for i, l := range s.Lists {
		row := elementAt(listsField, i) + "."
		for name, value := range map[string]string{
			"was": strconv.Itoa(i), "name": l.Name, "action": cmp.Or(l.Action, "deny"), "url": l.URL, "refresh": durationField(l.Refresh), "expiry": durationField(l.Expiry),
		} {
			values.Set(row+name, value)
		}
	}
	return values
}

// rulesText is a rule on each line, with its note behind it.
func rulesText(rules []settings.SourceRule) string {
	lines := make([]string, len(rules))
	for i, r := range rules {
		lines[i] = strings.TrimSpace(plainPrefix(r.Prefix) + " " + r.Note)
	}
	return strings.Join(lines, "\n")
}

func numbersText(numbers []int) string {
	texts := make([]string, len(numbers))
	for i, n := range numbers {
		texts[i] = strconv.Itoa(n)
	}
	return strings.Join(texts, ", ")
}

// ListsSave takes the form: one more list, one less, the review, or the form again with what is wrong.
func (p *Pages) ListsSave(c echo.Context) error {
	values, base, draft, err := p.sent(c)
	if err != nil {
		return err
	}
	view := listsView{Form: form{Values: values}, Base: base}
	switch do, row, _ := strings.Cut(values.Get("do"), " "); do {
	case "add":
		listRows.add(values)
		return p.showLists(c, http.StatusOK, draft, view)
	case "remove":
		listRows.remove(values, row)
		return p.showLists(c, http.StatusOK, draft, view)
	}
	listRows.keep(values, func(row string, _ int) bool {
		return strings.TrimSpace(values.Get(row+".name")+values.Get(row+".url")) != ""
	})
	t := typed{values: values}
	was := draft.Shield
	draft.Shield = t.sources(was)
	problems, err := p.review(c, t.with(ofLists(draft.Validate())), draft, base, "/shield/lists")
	if len(problems) == 0 {
		return err
	}
	view.Form.Problems = problems
	draft.Shield = was // what is known is of the lists in force
	return p.showLists(c, http.StatusUnprocessableEntity, draft, view)
}

// sources reads the form.
func (t *typed) sources(s settings.Shield) settings.Shield {
	s.Allow, s.Deny = t.sourceRules("shield.allow"), t.sourceRules("shield.deny")
	s.Countries = settings.Countries{Deny: t.codes("shield.countries.deny"), Allow: t.codes("shield.countries.allow"), URL: t.text("shield.countries.url")}
	s.Networks = settings.Networks{Deny: t.asns("shield.networks.deny"), Allow: t.asns("shield.networks.allow"), URL: t.text("shield.networks.url")}
	before := s.Lists
	s.Lists = nil
	for i := range listRows.count(t.values) {
		row := elementAt(listsField, i) + "."
		var was settings.List
		if at, err := strconv.Atoi(t.text(row + "was")); err == nil && at >= 0 && at < len(before) {
			was = before[at]
		}
		s.Lists = append(s.Lists, settings.List{Name: t.text(row + "name"), URL: t.text(row + "url"), Action: t.chosen(row+"action", was.Action, "deny"),
			Refresh: one[settings.Duration](t, row+"refresh"), Expiry: one[settings.Duration](t, row+"expiry")})
	}
	return s
}

// sourceRules reads a rule a line: a prefix, and behind it a note. Lines that cannot be read are told with their numbers.
func (t *typed) sourceRules(name string) (rules []settings.SourceRule) {
	for i, line := range strings.Split(t.values.Get(name), "\n") {
		prefix, note, _ := strings.Cut(strings.TrimSpace(line), " ")
		if prefix == "" {
			continue
		}
		rule := settings.SourceRule{Note: strings.TrimSpace(note)}
		if err := rule.Prefix.UnmarshalText([]byte(prefix)); err != nil {
			t.wrong(name, fmt.Sprintf("line %d: %v", i+1, err))
			continue
		}
		rules = append(rules, rule)
	}
	return rules
}

func (t *typed) codes(name string) []string {
	codes := t.words(name)
	for i := range codes {
		codes[i] = strings.ToUpper(codes[i])
	}
	return codes
}

// asns reads AS numbers, with or without AS in front.
func (t *typed) asns(name string) (numbers []int) {
	for _, word := range t.words(name) {
		n, err := strconv.Atoi(strings.TrimPrefix(strings.ToUpper(word), "AS"))
		if err != nil {
			t.wrong(name, fmt.Sprintf("%.60q is not an AS number; write it like 64500", word))
			continue
		}
		numbers = append(numbers, n)
	}
	return numbers
}

// inList is a problem of one of several things that one field has.
var inList = regexp.MustCompile(`^(shield\.(?:allow|deny|countries\.allow|countries\.deny|networks\.allow|networks\.deny))\[\d+\]`)

// ofLists brings the problems of single rules to the field that has them all.
func ofLists(problems []settings.Problem) []settings.Problem {
	problems = slices.Clone(problems)
	for i, p := range problems {
		if m := inList.FindStringSubmatch(p.Field); m != nil {
			problems[i].Field = m[1]
		}
	}
	return problems
}

// UploadList takes the file of a list.
func (p *Pages) UploadList(c echo.Context) error {
	file, err := filePart(c.Request())
	if err != nil {
		return err
	}
	taken, err := p.Control.TakeList(c.Param("name"), file)
	if unusable, ok := errors.AsType[*control.ListUnusable](err); ok {
		return p.refusedUpload(c, c.Param("name"), unusable)
	}
	if err != nil {
		return err
	}
	p.record(c, "list-upload", taken.Name, fmt.Sprintf("%d entries", taken.Entries))
	return p.back(c, "/shield/lists", "list-taken")
}

// UploadGeo takes a file about countries, networks, or both.
func (p *Pages) UploadGeo(c echo.Context) error {
	file, err := filePart(c.Request())
	if err != nil {
		return err
	}
	taken, err := p.Control.TakeGeo(file)
	if unusable, ok := errors.AsType[*control.ListUnusable](err); ok {
		return p.refusedUpload(c, "", unusable)
	}
	if err != nil {
		return err
	}
	for _, f := range taken {
		p.record(c, "geo-upload", f.Name, f.Type)
	}
	return p.back(c, "/shield/lists", "list-taken")
}

// refusedUpload tells why a file was not taken, and what of it is broken. What was there before stays.
func (p *Pages) refusedUpload(c echo.Context, name string, why *control.ListUnusable) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	view := listsView{Form: form{Values: listsValues(now.Shield)}, Base: base, Refused: &refusedFile{name, sentence(why), why.Broken, why.Lines}}
	return p.showLists(c, http.StatusUnprocessableEntity, now, view)
}
