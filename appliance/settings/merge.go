package settings

import (
	"encoding/json"
	"reflect"
	"slices"
)

// Merge makes the changes that lead from base to mine in theirs, so that somebody who edited an older revision takes
// back nothing that others changed meanwhile. Pools, services and whatever else has names are told apart by them; where
// both changed the same thing, mine wins. The result may have problems that neither has.
//
//	merged := settings.Merge(opened, edited, current)
func Merge(base, mine, theirs Settings) Settings {
	merged, err := json.Marshal(merge(asTree(base), asTree(mine), asTree(theirs)))
	if err != nil {
		return mine // a tree that was JSON a moment ago
	}
	s, problems := Decode(merged)
	if len(problems) > 0 {
		return mine
	}
	return s
}

// asTree is a document as JSON has it: maps, lists and values.
func asTree(s Settings) (v any) {
	if json.Unmarshal(Encode(s), &v) != nil {
		return nil
	}
	return v
}

// merge treats what is not there as nil.
func merge(base, mine, theirs any) any {
	switch {
	case reflect.DeepEqual(base, mine):
		return theirs
	case reflect.DeepEqual(base, theirs):
		return mine
	}
	if m, ok := mine.(map[string]any); ok {
		if t, ok := theirs.(map[string]any); ok {
			b, _ := base.(map[string]any)
			return mergeMaps(b, m, t)
		}
	}
	m, named := byName(mine)
	t, alsoNamed := byName(theirs)
	b, _ := byName(base)
	if named && alsoNamed {
		return mergeLists(b, m, t)
	}
	return mine
}

func mergeMaps(base, mine, theirs map[string]any) map[string]any {
	merged := map[string]any{}
	for _, keys := range []map[string]any{mine, theirs} {
		for key := range keys {
			if v := merge(base[key], mine[key], theirs[key]); v != nil {
				merged[key] = v
			}
		}
	}
	return merged
}

// namedList is a JSON list whose elements have names.
type namedList struct {
	names    []string
	elements map[string]any
}

func byName(v any) (l namedList, ok bool) {
	elements, ok := v.([]any)
	if !ok {
		return l, v == nil
	}
	l.elements = map[string]any{}
	for _, e := range elements {
		fields, _ := e.(map[string]any)
		name, _ := fields["name"].(string)
		if name == "" || l.elements[name] != nil {
			return l, false
		}
		l.names = append(l.names, name)
		l.elements[name] = e
	}
	return l, true
}

// mergeLists keeps the order of mine if that is what was changed, and theirs otherwise. What only one of them added
// comes last.
func mergeLists(base, mine, theirs namedList) []any {
	order := slices.Concat(theirs.names, mine.names)
	if !slices.Equal(common(base, mine), common(mine, base)) {
		order = slices.Concat(mine.names, theirs.names)
	}
	merged, done := []any{}, map[string]bool{}
	for _, name := range order {
		if done[name] {
			continue
		}
		done[name] = true
		if v := merge(base.elements[name], mine.elements[name], theirs.elements[name]); v != nil {
			merged = append(merged, v)
		}
	}
	return merged
}

// common are the names of l that are in other too, in the order of l.
func common(l, other namedList) []string {
	return slices.DeleteFunc(slices.Clone(l.names), func(name string) bool { return other.elements[name] == nil })
}
