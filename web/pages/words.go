package pages

import (
	"regexp"
	"slices"
	"strconv"
	"strings"

	"breakwater/appliance/settings"
)

// change is a difference of the settings as a person reads it: Service "games", ports: 25565 → 25566.
type change struct {
	Kind  string // added, removed or changed
	Where string
	What  string
	From  string
	To    string
}

// element finds the list elements of a field's path: services[games].timeouts.idle.
var element = regexp.MustCompile(`^(\w+(?:\.\w+)*)\[([^\]]*)\](?:\.(.*))?$`)

// words turns changes into what people read. Field names have texts such as field.services.ports; one that has none
// is shown as it is.
func (p *Pages) words(changes []settings.Change) []change {
	out := make([]change, 0, len(changes))
	for _, c := range changes {
		out = append(out, p.word(c))
	}
	return out
}

func (p *Pages) word(c settings.Change) change {
	w := change{Kind: "changed", From: c.From, To: c.To}
	var where []string
	rest, key, last := c.Field, "field", ""
	for {
		m := element.FindStringSubmatch(rest)
		if m == nil {
			break
		}
		key += "." + m[1]
		where = append(where, p.name(key, m[1])+" "+m[2])
		rest, last = m[3], m[2]
	}
	w.Where = strings.Join(where, ", ")
	if rest == "" {
		switch {
		case c.From == "":
			w.Kind, w.What = "added", p.text.say("changes.added")+": "+p.plainly(key, strings.TrimPrefix(c.To, "name "+last+", "))
		case c.To == "":
			w.Kind, w.What = "removed", p.text.say("changes.removed")
		}
		return w
	}
	w.What = p.name(key+"."+rest+".order", p.name(key+"."+rest, rest))
	return w
}

// rawName is a name of a field as the document has it, such as tcpHeader.
var rawName = regexp.MustCompile(`\b[a-z]+[A-Z]\w*\b`)

// plainly puts the words of fields for their names into an element that is told as a whole.
func (p *Pages) plainly(key, text string) string {
	return rawName.ReplaceAllStringFunc(text, func(name string) string { return p.name(key+"."+name, name) })
}

func (p *Pages) name(key, plain string) string {
	if p.text.has(key) {
		return p.text.say(key)
	}
	return plain
}

// numbered is the place of a problem in the document: services[2].ports[0].
var numbered = regexp.MustCompile(`^(services|pools|host\.interfaces)\[(\d+)\](?:\.origins\[(\d+)\])?(.*)$`)

// placed tells where in the settings problems are, with names for the places in lists: Service games, ports.
func (p *Pages) placed(problems []settings.Problem, s settings.Settings) []settings.Problem {
	out := slices.Clone(problems)
	for i, problem := range out {
		w := p.word(settings.Change{Field: namedField(lastIndex.ReplaceAllString(problem.Field, ""), s), From: "-", To: "-"})
		out[i].Field = strings.Join(slices.DeleteFunc([]string{w.Where, w.What}, func(t string) bool { return t == "" }), ", ")
	}
	return out
}

// namedField is the path of a field with the names of services, pools and origins instead of their places.
func namedField(field string, s settings.Settings) string {
	m := numbered.FindStringSubmatch(field)
	if m == nil {
		return field
	}
	s = s.WithDefaults() // origins without a name have one there
	at, _ := strconv.Atoi(m[2])
	switch {
	case m[1] == "services" && at < len(s.Services):
		return "services[" + s.Services[at].Name + "]" + m[4]
	case m[1] == "host.interfaces" && at < len(s.Host.Interfaces):
		return "host.interfaces[" + s.Host.Interfaces[at].Name + "]" + m[4]
	case m[1] == "pools" && at < len(s.Pools):
		pool := s.Pools[at]
		field = "pools[" + pool.Name + "]" + m[4]
		if origin, err := strconv.Atoi(m[3]); err == nil && origin < len(pool.Origins) {
			field = "pools[" + pool.Name + "].origins[" + pool.Origins[origin].Name + "]" + m[4]
		}
	}
	return field
}
