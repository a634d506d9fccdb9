package settings

import (
	"cmp"
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Change is one difference between two documents, in words for the operator.
type Change struct {
	Field string `json:"field"` // such as services[everything].ports; elements that have a name go by it
	From  string `json:"from"`  // empty: left out, or not there before
	To    string `json:"to"`    // empty: left out, or not there any more
}

// Diff returns what changes from old to new, in the order of the document; nothing when they are the same document.
// A pool, origin or service that comes or goes is one change, and so is a new order of those that stay.
func Diff(old, new Settings) []Change {
	if old.Schema == 0 {
		old.Schema = new.Schema // of no document, which nobody wrote a number into
	}
	var d differ
	d.compare("", reflect.ValueOf(old.normal()), reflect.ValueOf(new.normal()))
	return d.changes
}

type differ struct{ changes []Change }

func (d *differ) add(at path, from, to string) {
	if from != to {
		d.changes = append(d.changes, Change{Field: string(at), From: from, To: to})
	}
}

func (d *differ) compare(at path, old, new reflect.Value) {
	switch {
	case named(old.Type()):
		d.compareElements(at, old, new)
	case isDocument(old.Type()):
		for i, name := range fieldNames(old.Type()) {
			d.compare(at.field(name), old.Field(i), new.Field(i))
		}
	default:
		d.add(at, words(old), words(new))
	}
}

// compareElements pairs the elements of two lists by their keys.
func (d *differ) compareElements(at path, old, new reflect.Value) {
	before, after := keys(old), keys(new)
	for i, key := range before {
		if j := slices.Index(after, key); j >= 0 {
			d.compare(at.key(key), old.Index(i), new.Index(j))
		} else {
			d.add(at.key(key), cmp.Or(words(old.Index(i)), `""`), "")
		}
	}
	for j, key := range after {
		if !slices.Contains(before, key) {
			d.add(at.key(key), "", cmp.Or(words(new.Index(j)), `""`))
		}
	}
	d.add(at, strings.Join(shared(before, after), ", "), strings.Join(shared(after, before), ", "))
}

// shared are the keys that others have too, in their order.
func shared(keys, others []string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return !slices.Contains(others, key) })
}

// keys gives each element of a list a key of its own: its name, else (an origin's) its address. What has the key of
// an earlier element gets its count behind it.
func keys(list reflect.Value) []string {
	all := make([]string, list.Len())
	count := map[string]int{}
	for i := range all {
		key := list.Index(i).FieldByName("Name").String()
		if origin, ok := reflect.TypeAssert[Origin](list.Index(i)); ok && key == "" {
			key = origin.Address
		}
		count[key]++
		all[i] = key
		if count[key] > 1 {
			all[i] = fmt.Sprintf("%s #%d", key, count[key])
		}
	}
	return all
}

// named tells whether t is a list of pools, origins or services.
func named(t reflect.Type) bool {
	if t.Kind() != reflect.Slice || t.Elem().Kind() != reflect.Struct {
		return false
	}
	_, ok := t.Elem().FieldByName("Name")
	return ok
}

// isDocument tells whether t is an object in the document, not a value written as text.
func isDocument(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !t.Implements(reflect.TypeFor[encoding.TextMarshaler]())
}

// words is a value on one line: 443, 1000-2000 for a list, and name web, ports 443, pool games for an object.
// What is left out of the document is left out here.
func words(v reflect.Value) string {
	switch {
	case v.IsZero():
		return ""
	case isDocument(v.Type()):
		var parts []string
		for i, name := range fieldNames(v.Type()) {
			if text := words(v.Field(i)); text != "" {
				parts = append(parts, name+" "+text)
			}
		}
		return strings.Join(parts, ", ")
	case v.Kind() == reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = cmp.Or(words(v.Index(i)), `""`)
			if isDocument(v.Type().Elem()) {
				parts[i] = "(" + parts[i] + ")"
			}
		}
		return strings.Join(parts, ", ")
	}
	if m, ok := reflect.TypeAssert[encoding.TextMarshaler](v); ok {
		text, _ := m.MarshalText() // no type of a document returns an error, see Encode
		return string(text)
	}
	return fmt.Sprint(v.Interface())
}
