package pages

import (
	"net/url"
	"slices"
	"strings"

	"breakwater/appliance/settings"
)

// form is what somebody typed, and what is wrong with it. A form that is refused is shown again with every word of it.
type form struct {
	Values   url.Values
	Problems []settings.Problem // those of fields that the form does not have are shown above it
}

// Value is what a field holds.
func (f form) Value(name string) string { return f.Values.Get(name) }

// Checked tells whether a box or one of several values is chosen.
func (f form) Checked(name, value string) bool {
	return slices.Contains(f.Values[name], value)
}

// Problem is what is wrong with a field; empty: nothing.
func (f form) Problem(name string) string {
	var texts []string
	for _, p := range f.Problems {
		if p.Field == name {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "; ")
}

// Others are the problems that no field of the form shows.
func (f form) Others(fields ...string) []settings.Problem {
	var others []settings.Problem
	for _, p := range f.Problems {
		if !slices.Contains(fields, p.Field) {
			others = append(others, p)
		}
	}
	return others
}

// problem returns f with one more problem; field "": of the form as a whole.
func (f form) problem(field, text string) form {
	f.Problems = append(slices.Clip(f.Problems), settings.Problem{Field: field, Text: text})
	return f
}

// field is one input as the partial _field.html shows it. Label and help are the texts KEY and KEY.help.
type field struct {
	Form     form
	Name     string
	Kind     string // the type of the input: text, password, number …
	Key      string
	Hint     string // what an empty input means, shown in it
	HasHelp  bool
	Complete string // what a password manager fills in: username, current-password, new-password, one-time-code
}

// completes are the inputs that a password manager knows.
var completes = map[string]string{
	fieldName: "username", fieldPassword: "current-password", fieldSecond: "one-time-code", "newPassword": "new-password", "account": "username",
}

// field makes an input: {{template "_field.html" (field .View.Form "name" "text" "services.name" "minecraft")}}.
func (p *Pages) field(f form, name, kind, key string, hint ...string) field {
	return field{Form: f, Name: name, Kind: kind, Key: key, Hint: strings.Join(hint, " "), HasHelp: p.text.has(key + ".help"), Complete: completes[name]}
}

// choice is one select as the partial _choice.html shows it. Its options have the texts KEY.VALUE.
type choice struct {
	field
	Chosen  string
	Options []option
}

type option struct{ Value, Text string }

// choice makes a select: {{template "_choice.html" (choice .View.Form "tcpHeader" "services.tcpHeader" "none" "v1" "v2")}}.
func (p *Pages) choice(f form, name, key string, values ...string) choice {
	c := choice{field: p.field(f, name, "select", key), Chosen: f.Value(name)}
	for _, v := range values {
		c.Options = append(c.Options, option{v, p.name(key+"."+v, v)})
	}
	return c
}

// checks makes boxes of which any may be checked: {{template "_checks.html" (checks .View.Form "protocols" "services.protocols" "tcp" "udp")}}.
func (p *Pages) checks(f form, name, key string, values ...string) choice {
	return p.choice(f, name, key, values...)
}

// Value is what the input holds; a password is never sent back.
func (f field) Value() string {
	if f.Kind == "password" {
		return ""
	}
	return f.Form.Value(f.Name)
}

// Problem is what is wrong with the input.
func (f field) Problem() string { return f.Form.Problem(f.Name) }
