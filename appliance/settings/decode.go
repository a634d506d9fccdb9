package settings

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Read decodes and validates: every problem of a document at once. A field that could not be read is reported once,
// not a second time for the value it then lacks. Without problems the settings can be compiled.
func Read(data []byte) (Settings, []Problem) {
	s, problems := Decode(data)
	if problems != nil && s.Schema == 0 {
		return Settings{}, problems
	}
	unread := problems
	for _, p := range s.Validate() {
		if !concerns(unread, p.Field) {
			problems = append(problems, p)
		}
	}
	return s, problems
}

// concerns tells whether one of the problems is at the field, around it or inside it.
func concerns(problems []Problem, field string) bool {
	for _, p := range problems {
		if inside(field, p.Field) || inside(p.Field, field) {
			return true
		}
	}
	return false
}

// inside tells whether field is outer or a part of it: services[2].ports[0] is inside services[2].
func inside(field, outer string) bool {
	rest, ok := strings.CutPrefix(field, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}

// Decode reads a document of this schema or an older one. It reports everything that is not JSON of the right shape;
// whether the values make sense is for Validate. With problems, the settings are what could be read.
func Decode(data []byte) (Settings, []Problem) { return decode(data, migrations) }

func decode(data []byte, steps []migration) (Settings, []Problem) {
	var r report
	doc, ok := parse(data, &r)
	if !ok || !migrate(doc, steps, &r) {
		return Settings{}, r
	}
	var s Settings
	r.readInto(&s, doc)
	return s.normal(), r
}

// Newer tells whether a document is of a schema that this program does not know yet.
func Newer(data []byte) bool {
	var doc struct {
		Schema int `json:"schema"`
	}
	return json.Unmarshal(data, &doc) == nil && doc.Schema > Schema
}

// document is a JSON object before it has types: numbers are json.Number, lists []any.
type document = map[string]any

// parse reads data as one JSON object and reports duplicate keys, which RFC 8259 section 4 leaves to the reader and
// which two readers therefore read differently.
func parse(data []byte, r *report) (document, bool) {
	if len(data) > MaxSize {
		r.add("", "the document has %d bytes; at most %d are allowed", len(data), MaxSize)
		return nil, false
	}
	if !utf8.Valid(data) {
		r.add("", "the document is not UTF-8 text; save it as UTF-8")
		return nil, false
	}
	var whole json.RawMessage
	if err := json.Unmarshal(data, &whole); err != nil {
		line, column := position(data, err)
		r.add("", "the document is not valid JSON at line %d, column %d: %s", line, column, err)
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	value, err := tree(dec, "", r)
	if err != nil {
		r.add("", "the document is not valid JSON: %s", err)
		return nil, false
	}
	doc, ok := value.(document)
	if !ok {
		r.add("", "the document is %s; it must be an object: { \"schema\": %d, … }", kind(value), Schema)
	}
	return doc, ok
}

// position is where err is in data, counted from 1 as editors do.
func position(data []byte, err error) (line, column int) {
	offset := len(data)
	if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = min(int(syntax.Offset), len(data))
	}
	before := data[:offset]
	line = 1 + bytes.Count(before, []byte("\n"))
	return line, max(1, offset-(bytes.LastIndexByte(before, '\n')+1))
}

// tree reads the next value. Its depth is bounded: json.Unmarshal has refused deep documents before.
func tree(dec *json.Decoder, at path, r *report) (any, error) {
	token, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch token {
	case json.Delim('{'):
		return object(dec, at, r)
	case json.Delim('['):
		return list(dec, at, r)
	}
	return token, nil
}

func object(dec *json.Decoder, at path, r *report) (any, error) {
	doc := document{}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return nil, err
		}
		name, _ := key.(string) // a key is always text
		value, err := tree(dec, at.field(shorten(name)), r)
		if err != nil {
			return nil, err
		}
		if _, twice := doc[name]; twice {
			r.add(at.field(shorten(name)), "is given twice; keep one of them")
			continue
		}
		doc[name] = value
	}
	_, err := dec.Token()
	return doc, err
}

func list(dec *json.Decoder, at path, r *report) (any, error) {
	values := []any{}
	for dec.More() {
		value, err := tree(dec, at.index(len(values)), r)
		if err != nil {
			return nil, err
		}
		values = append(values, value)
	}
	_, err := dec.Token()
	return values, err
}

// schemaOf reads the schema number. A document without a sound one is read as the current schema, so that its other
// problems are seen too.
func schemaOf(doc document, current int, r *report) int {
	value, given := doc["schema"]
	if !given {
		r.add("schema", "is missing; write \"schema\": %d", current)
		return current
	}
	number, _ := value.(json.Number)
	schema, err := strconv.Atoi(number.String())
	if err != nil || schema < 1 {
		r.add("schema", "must be the number of a schema, 1 to %d", current)
		return current
	}
	return schema
}
