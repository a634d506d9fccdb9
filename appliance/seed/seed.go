// Package seed is the way in for a box that nobody sits at: a file on a stick, or on the box's own ESP, with settings and
// accounts for a box that has no owner yet. It is validated as a whole, applied once and wiped.
//
//	s, problems := seed.Read(data) // the root helper, of what a stranger may have put in
//	err := seed.Hand(dir, seed.Handed{From: "BREAKWATER", Seed: data})
//
//	taker := seed.Taker{Dir: dir, Control: core, Access: people} // in control
//	err := taker.Run(ctx)
//
// Whoever can plug in a stick could also read the setup code from the screen: a seed needs no other proof. The file:
//
//	{ "schema": 1,
//	  "settings": { "schema": 1, … },
//	  "accounts": [ { "name": "anna", "role": "admin", "passwordHash": "$argon2id$v=19$m=19456,t=2,p=1$…$…" } ] }
package seed

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"breakwater/appliance/access"
	"breakwater/appliance/settings"
)

const (
	// FileName is the file, in the root of its file system.
	FileName = "breakwater-seed.json"
	// Label is that of a FAT file system for it.
	Label = "BREAKWATER"
	// Schema is the version of the document that this program reads.
	Schema = 1
	// MaxSize bounds the file, in bytes: settings have at most 1 MiB.
	MaxSize = 2 << 20

	maxAccounts = 200
	// maxTold bounds the problems that are told at once.
	maxTold = 20
)

// Seed is what a file asks for.
type Seed struct {
	Settings []byte // the document, as control stores it
	Accounts []access.Given
}

// Read decodes and validates: every problem at once, in words that may be shown to anybody. With problems there is no
// Seed.
func Read(data []byte) (Seed, []settings.Problem) {
	var r report
	if !r.whole(data) {
		return Seed{}, r
	}
	top := r.object(data, "", "schema", "settings", "accounts")
	var schema int
	if r.read(top["schema"], "schema", &schema, "must be a number") && schema != Schema {
		r.add("schema", "is %d; this version reads %d", schema, Schema)
	}
	s := Seed{Settings: r.settings(top["settings"]), Accounts: r.accounts(top["accounts"])}
	if len(r) > 0 {
		return Seed{}, r[:min(len(r), maxTold)]
	}
	return s, nil
}

type report []settings.Problem

func (r *report) add(field, format string, args ...any) {
	*r = append(*r, settings.Problem{Field: field, Text: fmt.Sprintf(format, args...)})
}

// whole refuses what is not one JSON document.
func (r *report) whole(data []byte) bool {
	var any json.RawMessage
	switch {
	case len(data) > MaxSize:
		r.add("", "the file has more than %d bytes", MaxSize)
	case !utf8.Valid(data):
		r.add("", "the file is not UTF-8 text; save it as UTF-8")
	default:
		if err := json.Unmarshal(data, &any); err != nil {
			r.add("", "the file is not valid JSON: %s", err)
		}
	}
	return len(*r) == 0
}

// object reads the fields of an object to the letter: encoding/json takes Name for name, and the last of two.
func (r *report) object(data []byte, at string, known ...string) map[string]json.RawMessage {
	fields := map[string]json.RawMessage{}
	decoder := json.NewDecoder(bytes.NewReader(data))
	if start, err := decoder.Token(); err != nil || start != json.Delim('{') {
		r.add(at, "must be an object: { … }")
		return fields
	}
	for decoder.More() {
		key, err := decoder.Token()
		var value json.RawMessage
		if err == nil {
			err = decoder.Decode(&value)
		}
		name, _ := key.(string) // a key is text
		if err != nil {
			r.add(at, "cannot be read: %s", err)
			return fields
		}
		_, twice := fields[name]
		switch {
		case twice:
			r.add(within(at, name), "is given twice; keep one of them")
		case !slices.Contains(known, name):
			r.add(within(at, name), "%s", unknown(name, known))
		}
		fields[name] = value
	}
	return fields
}

// unknown says why a field is not taken, and what would be instead of a password that everybody could read.
func unknown(name string, known []string) string {
	if slices.Contains(known, "passwordHash") && strings.EqualFold(name, "password") {
		return "is not taken, as whoever finds the stick could read it; run breakwater hash-password, and write what it prints as passwordHash"
	}
	return "is no field here; there are " + strings.Join(known, ", ")
}

func within(at, name string) string {
	if len(name) > 40 || strings.ContainsFunc(name, func(r rune) bool { return !strconv.IsPrint(r) }) {
		name = strconv.QuoteToASCII(name)
		name = name[:min(len(name), 40)]
	}
	if at == "" {
		return name
	}
	return at + "." + name
}

// read decodes a field that must be there, and reports whether it could.
func (r *report) read(value json.RawMessage, at string, into any, form string) bool {
	if value == nil {
		r.add(at, "is missing")
		return false
	}
	if string(value) == "null" || json.Unmarshal(value, into) != nil {
		r.add(at, "%s", form)
		return false
	}
	return true
}

func (r *report) settings(document json.RawMessage) []byte {
	if document == nil {
		r.add("settings", "is missing")
		return nil
	}
	s, problems := settings.Read(document)
	for _, p := range problems {
		r.add(strings.TrimSuffix("settings."+p.Field, "."), "%s", p.Text)
	}
	if len(problems) > 0 {
		return nil
	}
	return settings.Encode(s)
}

func (r *report) accounts(value json.RawMessage) []access.Given {
	var raw []json.RawMessage
	if !r.read(value, "accounts", &raw, "must be a list: [ … ]") {
		return nil
	}
	if len(raw) > maxAccounts {
		r.add("accounts", "has %d; at most %d are allowed", len(raw), maxAccounts)
		return nil
	}
	list := make([]access.Given, len(raw))
	for i, one := range raw {
		list[i] = r.account(one, fmt.Sprintf("accounts[%d]", i))
		named := func(other access.Given) bool { return other.Name == list[i].Name }
		if list[i].Name != "" && slices.ContainsFunc(list[:i], named) {
			r.add(fmt.Sprintf("accounts[%d].name", i), "is that of another account, too")
		}
	}
	if !slices.ContainsFunc(list, func(g access.Given) bool { return g.Role == access.Admin }) {
		r.add("accounts", "needs at least one with the role admin")
	}
	return list
}

func (r *report) account(data []byte, at string) (g access.Given) {
	fields := r.object(data, at, "name", "role", "passwordHash")
	var name, hash string
	if r.read(fields["name"], at+".name", &name, "must be text") {
		var err error
		if g.Name, err = access.CheckName(name); err != nil {
			r.add(at+".name", "%s", err)
		}
	}
	if r.read(fields["role"], at+".role", &g.Role, "must be text") && !slices.Contains(access.Roles(), g.Role) {
		r.add(at+".role", "%s", access.ErrRole)
	}
	if r.read(fields["passwordHash"], at+".passwordHash", &hash, "must be text") {
		if err := access.CheckHash(hash); err != nil {
			r.add(at+".passwordHash", "%s", err)
		}
		g.Hash = access.Secret(hash)
	}
	return g
}

// Invalid is a seed with problems.
type Invalid struct{ Problems []settings.Problem }

func (e *Invalid) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "; ")
}

var errHanded = errors.New("the seed file that was handed over is damaged")
