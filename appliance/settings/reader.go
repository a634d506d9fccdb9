package settings

import (
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// readInto fills s from doc and goes on after each problem. encoding/json cannot be asked to do this: it stops at the
// first value it cannot read, matches names without regard to case, and reports no path.
func (r *report) readInto(s *Settings, doc document) {
	r.readStruct("", doc, reflect.ValueOf(s).Elem())
}

// read fills target from value, by the kind of the target.
func (r *report) read(at path, value any, target reflect.Value) {
	if text, ok := reflect.TypeAssert[encoding.TextUnmarshaler](target.Addr()); ok {
		r.readText(at, value, text)
		return
	}
	switch target.Kind() {
	case reflect.Struct:
		r.readStruct(at, value, target)
	case reflect.Slice:
		r.readList(at, value, target)
	case reflect.String:
		if text, ok := value.(string); ok {
			target.SetString(text)
			return
		}
		r.add(at, "must be text in quotes, not %s", kind(value))
	case reflect.Bool:
		if b, ok := value.(bool); ok {
			target.SetBool(b)
			return
		}
		r.add(at, "must be true or false, not %s", kind(value))
	case reflect.Int:
		r.readInt(at, value, target)
	default:
		panic("settings has a field of a kind that no document can hold: " + target.Type().String())
	}
}

func (r *report) readStruct(at path, value any, target reflect.Value) {
	doc, ok := value.(document)
	if !ok {
		r.add(at, "must be an object in braces, not %s", kind(value))
		return
	}
	names := fieldNames(target.Type())
	for i, name := range names {
		if v, given := doc[name]; given {
			r.read(at.field(name), v, target.Field(i))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		if !slices.Contains(names, name) {
			r.add(at.field(shorten(name)), "is not a known field; the fields here are %s", strings.Join(names, ", "))
		}
	}
}

// readList keeps the place of an element that cannot be read, so that the fields of later problems count right.
func (r *report) readList(at path, value any, target reflect.Value) {
	values, ok := value.([]any)
	if !ok {
		r.add(at, "must be a list in brackets, not %s", kind(value))
		return
	}
	target.Set(reflect.MakeSlice(target.Type(), len(values), len(values)))
	for i, v := range values {
		r.read(at.index(i), v, target.Index(i))
	}
}

func (r *report) readText(at path, value any, target encoding.TextUnmarshaler) {
	text, ok := value.(string)
	if !ok {
		r.add(at, "must be text in quotes, not %s", kind(value))
		return
	}
	if err := target.UnmarshalText([]byte(text)); err != nil {
		r.add(at, "%s", err)
	}
}

func (r *report) readInt(at path, value any, target reflect.Value) {
	number, ok := value.(json.Number)
	if !ok {
		r.add(at, "must be a whole number without quotes, not %s", kind(value))
		return
	}
	n, err := strconv.Atoi(number.String())
	if err != nil {
		r.add(at, "%s is not a whole number that fits", shorten(number.String()))
		return
	}
	target.SetInt(int64(n))
}

// fieldNames are the names of a struct's fields in a document, in their order.
func fieldNames(t reflect.Type) []string {
	names := make([]string, t.NumField())
	for i := range names {
		names[i], _, _ = strings.Cut(t.Field(i).Tag.Get("json"), ",")
	}
	return names
}

// kind is the word for what a JSON value is.
func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null (leave the field out instead)"
	case bool:
		return "true or false"
	case json.Number:
		return "a number"
	case string:
		return "text"
	case []any:
		return "a list"
	}
	return "an object"
}
