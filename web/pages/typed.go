package pages

import (
	"encoding"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"breakwater/appliance/settings"
)

// typed reads the fields of a form into values of the settings. What cannot be read is a problem at its field, in the
// words of the settings:
//
//	t := typed{values: c.Request().PostForm}
//	service.Ports = list[settings.Ports](&t, "ports")
//	problems := t.with(draft.Validate())
type typed struct {
	values   url.Values
	problems []settings.Problem
}

// text is what is in a field, without the blanks around it.
func (t *typed) text(name string) string { return strings.TrimSpace(t.values.Get(name)) }

// on tells whether a box is checked.
func (t *typed) on(name string) bool { return t.values.Get(name) == "on" }

// words are what is in a field that takes several things, with commas or blanks between them.
func (t *typed) words(name string) []string {
	return strings.FieldsFunc(t.values.Get(name), func(r rune) bool { return strings.ContainsRune(",; \t\r\n", r) })
}

// boxes are the values of the boxes of a name that are checked.
func (t *typed) boxes(name string) []string {
	return slices.DeleteFunc(slices.Clone(t.values[name]), func(v string) bool { return v == "" })
}

// among is boxes, in the order that those before had: the page shows them in an order of its own, which is no change.
func (t *typed) among(name string, before []string) []string {
	place := func(v string) int {
		if at := slices.Index(before, v); at >= 0 {
			return at
		}
		return len(before)
	}
	values := t.boxes(name)
	slices.SortStableFunc(values, func(a, b string) int { return place(a) - place(b) })
	return values
}

// number is a whole number; an empty field is 0, which in settings means the default.
func (t *typed) number(name string) int {
	text := strings.ReplaceAll(t.text(name), " ", "")
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.wrong(name, fmt.Sprintf("%.60q is not a whole number; write it like 5000, or leave it empty", text))
	}
	return n
}

// chosen is the value of a select. The default is left out of the document, unless it was spelled out there before.
func (t *typed) chosen(name, before, standard string) string {
	value := t.text(name)
	if value == standard && before == "" {
		return ""
	}
	return value
}

func (t *typed) wrong(name, text string) {
	t.problems = append(t.problems, settings.Problem{Field: name, Text: text})
}

// reads is a pointer to a value of the settings that is written as text.
type reads[T any] interface {
	*T
	encoding.TextUnmarshaler
}

// one reads a value; an empty field is its zero value.
func one[T any, P reads[T]](t *typed, name string) T {
	var value T
	if text := t.text(name); text != "" {
		if err := P(&value).UnmarshalText([]byte(text)); err != nil {
			t.wrong(name, err.Error())
		}
	}
	return value
}

// list reads several values. Those that cannot be read are left out: the problem keeps the form from going on.
func list[T any, P reads[T]](t *typed, name string) []T {
	var values []T
	for _, word := range t.words(name) {
		var value T
		if err := P(&value).UnmarshalText([]byte(word)); err != nil {
			t.wrong(name, err.Error())
			continue
		}
		values = append(values, value)
	}
	return values
}

// rangeDash is the dash of a range with blanks around it, as people write it.
var rangeDash = regexp.MustCompile(`[ \t]*[-–][ \t]*`)

// ports reads a list of ports and port ranges: 25565, 27015-27030.
func (t *typed) ports(name string) []settings.Ports {
	tidy := typed{values: url.Values{name: {rangeDash.ReplaceAllString(t.values.Get(name), "-")}}}
	ports := list[settings.Ports](&tidy, name)
	t.problems = append(t.problems, tidy.problems...)
	return ports
}

// with adds the problems of the values that could be read. A field that could not be has its problem already.
func (t *typed) with(validated []settings.Problem) []settings.Problem {
	all := slices.Clone(t.problems)
	for _, p := range validated {
		if !slices.ContainsFunc(t.problems, func(read settings.Problem) bool { return read.Field == p.Field }) {
			all = append(all, p)
		}
	}
	return all
}

// joined writes a list as it stands in a field.
func joined[T fmt.Stringer](values []T) string {
	texts := make([]string, len(values))
	for i, v := range values {
		texts[i] = v.String()
	}
	return strings.Join(texts, ", ")
}

// prefixText writes networks as it stands in a field: one address without its length.
func prefixText(prefixes []settings.Prefix) string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = plainPrefix(p)
	}
	return strings.Join(texts, ", ")
}

func plainPrefix(p settings.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// numberField is a number as it stands in a field; empty: the default.
func numberField(n int) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(n)
}

// durationField is a time as it stands in a field; empty: the default.
func durationField(d settings.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}
