package steering

import (
	"fmt"
	"slices"
	"strings"
)

// difference lists the steps from o to w. The order keeps the invariant of the package at every step: first the
// sets, the chains and the rule, then the addresses; and when something goes, the addresses first.
func (s *Steering) difference(o observed, w wish) ([]step, error) {
	var opening, closing []step
	for f := range families {
		add, remove := s.setSteps(f, o.families[f].sets, w.families[f])
		opening = append(opening, add...)

		rules, narrowing, err := s.chainSteps(f, o.families[f], w.families[f])
		if err != nil {
			return nil, err
		}
		if w.families[f].wanted {
			opening = append(opening, rules...)
			closing = append(closing, narrowing...)
		} else {
			closing = append(closing, rules...)
		}
		add, gone := policySteps(f, o, w.families[f].wanted)
		opening = append(opening, add...)
		closing = append(closing, append(gone, remove...)...)
	}
	opening = append(opening, looseSteps(w.loose)...)
	add, remove := addressSteps(o, w)
	return slices.Concat(opening, add, remove, closing), nil
}

// chainSteps makes the chains of one family as wanted, then the hooks, then removes chains that nobody wants. They
// still cover the addresses of the former plan; narrowing, for when these have gone, makes them cover the new ones only.
func (s *Steering) chainSteps(f family, o observedFamily, w familyWish) (steps, narrowing []step, err error) {
	var surplus []step
	have, wanted := o.chains, make(map[string]bool)
	exact, wide := w.chains(f, w.edge), w.chains(f, slices.Concat(w.edge, o.sets[f.set(setEdge)]))
	for i, c := range wide {
		wanted[c.name] = true
		narrowing = append(narrowing, s.ruleSteps(f, exact[i], c.rules)...)
		rules, exists := have[c.name]
		if !exists {
			steps = append(steps, s.newChain(f, c.name))
		}
		same, err := s.same(f, c, rules)
		if err != nil {
			return nil, nil, err
		}
		if !same {
			steps = append(steps, s.ruleSteps(f, c, rules)...)
		}
	}
	steps = append(steps, s.hookSteps(f, have, w.wanted)...)
	for name := range have {
		if !isHook(name) && !wanted[name] {
			// Emptied first, all of them: a chain that another one jumps to cannot be removed.
			steps = append(steps, s.emptyChain(f, name))
			surplus = append(surplus, s.deleteChain(f, name))
		}
	}
	return append(steps, surplus...), narrowing, nil
}

// same tells whether the rules of a chain are the wanted ones, in their order. Another version of iptables may
// print a rule otherwise than we write it: where a rule differs and is none of the chain's others, iptables is asked
// whether the wanted one exists.
func (s *Steering) same(f family, c chain, have []string) (bool, error) {
	if len(c.rules) != len(have) {
		return false, nil
	}
	for i, r := range c.rules {
		if r == have[i] {
			continue
		}
		if slices.Contains(c.rules, have[i]) {
			return false, nil
		}
		exists, err := s.tables[f].Exists(table, c.name, strings.Fields(r)...)
		if err != nil || !exists {
			return false, err
		}
	}
	return true, nil
}

// ruleSteps are the edits of one chain.
func (s *Steering) ruleSteps(f family, c chain, have []string) []step {
	var steps []step
	for _, e := range edits(have, c.rules) {
		if e.insert {
			steps = append(steps, s.insertRule(f, c.name, e.position, e.rule))
		} else {
			steps = append(steps, s.deleteRule(f, c.name, e.position, e.rule))
		}
	}
	return steps
}

// edit inserts a rule in front of the one at position, counted from 1, or deletes the one there.
type edit struct {
	insert   bool
	position int
	rule     string
}

// edits turn the rules of one chain into the wanted ones. What differs is inserted in front of what it replaces,
// and that is deleted afterwards, last one first: at no moment is a rule that both have missing, nor is the old
// opened up before the new is complete.
func edits(have, want []string) []edit {
	most := min(len(have), len(want))
	front := 0
	for front < most && have[front] == want[front] {
		front++
	}
	back := 0
	for back < most-front && have[len(have)-1-back] == want[len(want)-1-back] {
		back++
	}
	var list []edit
	fresh := want[front : len(want)-back]
	for i, rule := range fresh {
		list = append(list, edit{true, front + i + 1, rule})
	}
	for i := len(have) - back - 1; i >= front; i-- {
		list = append(list, edit{false, len(fresh) + i + 1, have[i]})
	}
	return list
}

// hookSteps keeps exactly one jump in each built-in chain, or none. Rules of others are not touched.
func (s *Steering) hookSteps(f family, have map[string][]string, wanted bool) []step {
	var steps []step
	for _, h := range hooks {
		kept := false
		var stray []string
		for _, rule := range have[h.name] {
			switch {
			case wanted && rule == h.rules[0] && !kept:
				kept = true
			case jumpsToUs(rule):
				stray = append(stray, rule)
			}
		}
		if wanted && !kept {
			steps = append(steps, s.insertRule(f, h.name, 1, h.rules[0]))
		}
		for _, rule := range stray {
			steps = append(steps, s.deleteText(f, h.name, rule))
		}
	}
	return steps
}

// jumpsToUs tells whether rule belongs to us: it jumps to a chain of ours.
func jumpsToUs(rule string) bool {
	return strings.Contains(rule, "-j "+prefix) || strings.Contains(rule, "-g "+prefix)
}

func (s *Steering) newChain(f family, name string) step {
	return step{fmt.Sprintf("make the %s chain %s", f.command(), name),
		func() error { return s.tables[f].NewChain(table, name) }}
}

func (s *Steering) emptyChain(f family, name string) step {
	return step{fmt.Sprintf("empty the %s chain %s", f.command(), name),
		func() error { return s.tables[f].ClearChain(table, name) }}
}

func (s *Steering) deleteChain(f family, name string) step {
	return step{fmt.Sprintf("delete the %s chain %s", f.command(), name),
		func() error { return s.tables[f].DeleteChain(table, name) }}
}

func (s *Steering) insertRule(f family, name string, position int, rule string) step {
	return step{fmt.Sprintf("add to the %s chain %s: %s", f.command(), name, rule),
		func() error { return s.tables[f].Insert(table, name, position, strings.Fields(rule)...) }}
}

func (s *Steering) deleteRule(f family, name string, position int, rule string) step {
	return step{fmt.Sprintf("remove from the %s chain %s: %s", f.command(), name, rule),
		func() error { return s.tables[f].DeleteById(table, name, position) }}
}

// deleteText removes a rule from a chain that is not ours, where a position may have moved meanwhile.
func (s *Steering) deleteText(f family, name, rule string) step {
	return step{fmt.Sprintf("remove from the %s chain %s: %s", f.command(), name, rule),
		func() error { return s.tables[f].Delete(table, name, strings.Fields(rule)...) }}
}
