package pages

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"breakwater/appliance/settings"
	"breakwater/appliance/status"
)

// ruleView is one packet rule of a service's form.
type ruleView struct {
	Form   form
	Number int    // from 1
	At     string // in front of the names of its inputs: shield.packetRules[0]
	Last   bool
	Hits   *status.RuleCounter // nil: it is not in force yet, or not known
}

const (
	rulesField = "shield.packetRules"
	// maxRules bounds the rows of a form: as many as a service may have rules, and a few that are too many, so that it is told.
	maxRules = 32
)

// ruleFields are the inputs of a rule. The first is hidden: its place in the service as it is.
var ruleFields = []string{"was", "name", "protocol", "action", "minLength", "maxLength", "sourcePorts", "minTtl", "maxTtl", "payload"}

var packetRuleRows = rows{list: rulesField, input: "rules", fields: ruleFields, most: maxRules}

// rulesOfForm are the rows of a form, with what the filter has counted of the rules that have their names.
func rulesOfForm(f form, service string, edge *status.Edge) []ruleView {
	n := packetRuleRows.count(f.Values)
	rows := make([]ruleView, n)
	for i := range rows {
		at := elementAt(rulesField, i)
		rows[i] = ruleView{Form: f, Number: i + 1, At: at, Last: i == n-1, Hits: hitsOf(edge, service, f.Value(at+".name"))}
	}
	return rows
}

func hitsOf(edge *status.Edge, service, rule string) *status.RuleCounter {
	if edge == nil {
		return nil
	}
	i := slices.IndexFunc(edge.Shield.Rules, func(r status.RuleCounter) bool { return r.Service == service && r.Rule == rule })
	if i < 0 {
		return nil
	}
	return &edge.Shield.Rules[i]
}

// ruleNames are the names of the inputs of all rows.
func ruleNames(values url.Values) []string {
	names := []string{rulesField}
	for i := range packetRuleRows.count(values) {
		for _, field := range ruleFields {
			names = append(names, elementAt(rulesField, i)+"."+field)
		}
	}
	return names
}

// ruleValues puts rules into a form.
func ruleValues(values url.Values, rules []settings.PacketRule) {
	values.Set("rules", strconv.Itoa(len(rules)))
	for i, r := range rules {
		row := elementAt(rulesField, i) + "."
		for name, value := range map[string]string{
			"was": strconv.Itoa(i), "name": r.Name, "protocol": r.Protocol, "action": cmp.Or(r.Action, "drop"),
			"minLength": numberField(r.MinLength), "maxLength": numberField(r.MaxLength), "sourcePorts": r.SourcePorts.String(),
			"minTtl": numberField(r.MinTTL), "maxTtl": numberField(r.MaxTTL), "payload": r.Payload,
		} {
			values.Set(row+name, value)
		}
	}
}

// rules reads the rows of the form.
func (t *typed) rules(was []settings.PacketRule) []settings.PacketRule {
	var rules []settings.PacketRule
	for i := range packetRuleRows.count(t.values) {
		row := elementAt(rulesField, i) + "."
		var before settings.PacketRule
		if at, err := strconv.Atoi(t.text(row + "was")); err == nil && at >= 0 && at < len(was) {
			before = was[at]
		}
		rules = append(rules, settings.PacketRule{
			Name: t.text(row + "name"), Protocol: t.text(row + "protocol"), Action: t.chosen(row+"action", before.Action, "drop"),
			MinLength: t.number(row + "minLength"), MaxLength: t.number(row + "maxLength"),
			SourcePorts: one[settings.Ports](t, row+"sourcePorts"),
			MinTTL:      t.number(row + "minTtl"), MaxTTL: t.number(row + "maxTtl"), Payload: t.text(row + "payload"),
		})
	}
	return rules
}

// editRules does what a button of the rows says: one more, one less, one further up or down. It tells whether one was
// pressed.
func editRules(values url.Values) bool {
	do, row, _ := strings.Cut(values.Get("do"), " ")
	n := packetRuleRows.count(values)
	at, _ := strconv.Atoi(row)
	at-- // rows are counted from 1
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	known := at >= 0 && at < n
	switch {
	case do == "rule-add":
		order = append(order, n) // where nothing is yet
	case do == "rule-remove" && known:
		order = slices.Delete(order, at, at+1)
	case do == "rule-up" && known && at > 0:
		order[at-1], order[at] = order[at], order[at-1]
	case do == "rule-down" && known && at < n-1:
		order[at+1], order[at] = order[at], order[at+1]
	default:
		return false
	}
	packetRuleRows.reorder(values, order[:min(len(order), maxRules)])
	return true
}

// dropEmptyRules takes out the rows into which nothing was typed.
func dropEmptyRules(values url.Values) {
	packetRuleRows.keep(values, func(row string, _ int) bool {
		return slices.ContainsFunc(ruleFields, func(field string) bool {
			return field != "was" && field != "action" && strings.TrimSpace(values.Get(row+"."+field)) != ""
		})
	})
}
