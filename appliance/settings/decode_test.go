package settings

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// plainValues compares the texts of a document by what they say.
var plainValues = cmpopts.EquateComparable(Prefix{}, Server{}, Address{}, Addr{})

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func mustRead(t testing.TB, name string) Settings {
	t.Helper()
	s, problems := Read(readFile(t, name))
	if len(problems) > 0 {
		t.Fatalf("%s: %v", name, problems)
	}
	return s
}

func TestGoodDocuments(t *testing.T) {
	for _, name := range []string{"smallest.json", "fresh.json", "schema-1.json"} {
		t.Run(name, func(t *testing.T) {
			s := mustRead(t, name)
			if problems := s.WithDefaults().Validate(); len(problems) > 0 {
				t.Errorf("with defaults: %v", problems)
			}
		})
	}
}

func TestEveryReleasedSchemaDecodes(t *testing.T) {
	files, err := filepath.Glob("testdata/schema-*.json")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != Schema {
		t.Fatalf("got %d documents in testdata for %d schemas", len(files), Schema)
	}
	for _, file := range files {
		if s := mustRead(t, filepath.Base(file)); s.Schema != Schema {
			t.Errorf("%s: got schema %d, want %d", file, s.Schema, Schema)
		}
	}
}

// The document of the newest schema is written as Encode writes it, and leaves no field of the types out.
func TestNewestDocumentIsWhole(t *testing.T) {
	data := readFile(t, "schema-1.json")
	s := mustRead(t, "schema-1.json")
	if diff := cmp.Diff(string(data), string(Encode(s))); diff != "" {
		t.Errorf("not canonical (-file +encoded):\n%s", diff)
	}
	for _, field := range unused(reflect.ValueOf(s), "") {
		t.Errorf("%s is not used in schema-1.json", field)
	}
}

// unused are the fields that no element of v gives a value.
func unused(v reflect.Value, at string) []string {
	switch {
	case v.Kind() == reflect.Slice && isDocument(v.Type().Elem()):
		var all []string
		for i := range v.Len() {
			fields := unused(v.Index(i), at+"[]")
			if i == 0 {
				all = fields
			}
			all = slices.DeleteFunc(all, func(f string) bool { return !slices.Contains(fields, f) })
		}
		return all
	case isDocument(v.Type()):
		var all []string
		for i, name := range fieldNames(v.Type()) {
			all = append(all, unused(v.Field(i), at+"."+name)...)
		}
		return all
	case v.IsZero():
		return []string{at}
	}
	return nil
}

func TestEncodeLeavesItsArgumentAlone(t *testing.T) {
	s := Settings{Schema: 1, Pools: []Pool{{Name: "games"}}, Services: []Service{{Name: "web"}}}
	Encode(s)
	s.WithDefaults()
	want := Settings{Schema: 1, Pools: []Pool{{Name: "games"}}, Services: []Service{{Name: "web"}}}
	if diff := cmp.Diff(want, s, plainValues); diff != "" {
		t.Errorf("changed (-before +after):\n%s", diff)
	}
}

func TestMigrate(t *testing.T) {
	steps := []migration{
		func(doc document) { doc["pools"] = doc["groups"]; delete(doc, "groups") },
		func(doc document) {
			if edge, ok := doc["edge"].(document); ok {
				edge["interfaces"] = []any{edge["interface"]}
				delete(edge, "interface")
			}
		},
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"from the first", `{"schema":1,"groups":[{"name":"games"}],"edge":{"interface":"wan0"}}`, nil},
		{"from the second", `{"schema":2,"pools":[{"name":"games"}],"edge":{"interface":"wan0"}}`, nil},
		{"already newest", `{"schema":3,"pools":[{"name":"games"}],"edge":{"interfaces":["wan0"]}}`, nil},
		{"old field in a new schema", `{"schema":3,"pools":[{"name":"games"}],"groups":[],"edge":{"interfaces":["wan0"]}}`,
			[]string{"groups: is not a known field; the fields here are schema, edge, management, host, updates, dns, limits, shield, alerts, pools, services"}},
		{"newer than this program", `{"schema":4,"unheard":true}`,
			[]string{"schema: the document has schema 4, but this box is older and knows schemas up to 3; update the box first"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, problems := decode([]byte(tt.text), steps)
			if diff := cmp.Diff(tt.want, lines(problems)); diff != "" {
				t.Fatalf("problems (-want +got):\n%s", diff)
			}
			if s.Schema == 3 && (s.Pools[0].Name != "games" || s.Edge.Interfaces[0] != "wan0") {
				t.Errorf("got %+v", s)
			}
		})
	}
}

func TestSchemaIsTheNumberOfMigrations(t *testing.T) {
	if got := len(migrations) + 1; got != Schema {
		t.Errorf("the migrations lead to schema %d, want %d", got, Schema)
	}
}

func lines(problems []Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.String())
	}
	return all
}

// with is the smallest document with one value in place of another.
func with(t testing.TB, old, new string) []byte {
	t.Helper()
	text := string(readFile(t, "smallest.json"))
	if !strings.Contains(text, old) {
		t.Fatalf("smallest.json has no %s", old)
	}
	return []byte(strings.Replace(text, old, new, 1))
}

func TestReadProblems(t *testing.T) {
	tests := []struct {
		name, old, new string
		want           []string
	}{
		{"unknown field", `"address": "10.0.0.20"`, `"address": "10.0.0.20", "adresse": 1`,
			[]string{"pools[0].origins[0].adresse: is not a known field; the fields here are name, address, record, port, weight, state, maxSessions"}},
		{"field in another case", `"schema"`, `"Schema"`,
			[]string{`schema: is missing; write "schema": 1`, "Schema: is not a known field; the fields here are schema, edge, management, host, updates, dns, limits, shield, alerts, pools, services"}},
		{"twice", `"schema": 1`, `"schema": 1, "schema": 2`,
			[]string{"schema: is given twice; keep one of them"}},
		{"twice within", `"name": "games"`, `"name": "games", "name": "games"`,
			[]string{"pools[0].name: is given twice; keep one of them"}},
		{"schema as text", `"schema": 1`, `"schema": "1"`,
			[]string{"schema: must be the number of a schema, 1 to 1"}},
		{"schema zero", `"schema": 1`, `"schema": 0`,
			[]string{"schema: must be the number of a schema, 1 to 1"}},
		{"newer schema", `"schema": 1`, `"schema": 2`,
			[]string{"schema: the document has schema 2, but this box is older and knows schemas up to 1; update the box first"}},
		{"ports beyond", `"1-65535"`, `"0-70000"`,
			[]string{`services[0].ports[0]: "0-70000" goes beyond the ports there are, 1 to 65535`}},
		{"ports as number", `"1-65535"`, `443`,
			[]string{"services[0].ports[0]: must be text in quotes, not a number"}},
		{"number as text", `{ "address": "10.0.0.20" }`, `{ "address": "10.0.0.20", "weight": "2" }`,
			[]string{"pools[0].origins[0].weight: must be a whole number without quotes, not text"}},
		{"fraction", `{ "address": "10.0.0.20" }`, `{ "address": "10.0.0.20", "weight": 1.5 }`,
			[]string{"pools[0].origins[0].weight: 1.5 is not a whole number that fits"}},
		{"huge number", `{ "address": "10.0.0.20" }`, `{ "address": "10.0.0.20", "weight": 99999999999999999999 }`,
			[]string{"pools[0].origins[0].weight: 99999999999999999999 is not a whole number that fits"}},
		{"not a boolean", `"tcpHeader": "v2"`, `"transparent": "yes"`,
			[]string{"services[0].transparent: must be true or false, not text"}},
		{"null", `"schema": 1`, `"schema": 1, "limits": null`,
			[]string{"limits: must be an object in braces, not null (leave the field out instead)"}},
		{"object for a list", `["wan0"]`, `{}`,
			[]string{"edge.interfaces: must be a list in brackets, not an object"}},
		{"list for an object", `[ { "address": "10.0.0.20" } ]`, `[ [] ]`,
			[]string{"pools[0].origins[0]: must be an object in braces, not a list"}},
		{"number for text", `"name": "everything"`, `"name": 5`,
			[]string{"services[0].name: must be text in quotes, not a number"}},
		{"duration", `"tcpHeader": "v2"`, `"timeouts": { "idle": "5 minutes", "connect": 5 }`,
			[]string{"services[0].timeouts.connect: must be text in quotes, not a number",
				`services[0].timeouts.idle: "5 minutes" is not a duration; write it like "30s", "5m" or "2h"`}},
		{"everything at once", `"protocols": ["tcp", "udp"], "ports": ["1-65535"], "pool": "games"`,
			`"protocols": ["tcp", "icmp"], "ports": ["0-70000", "5-1"], "pool": "gmes", "timeouts": { "idle": "x" }, "limits": [], "x": 1`,
			[]string{
				`services[0].ports[0]: "0-70000" goes beyond the ports there are, 1 to 65535`,
				`services[0].ports[1]: "5-1" ends before it begins; write it as "1-5"`,
				`services[0].timeouts.idle: "x" is not a duration; write it like "30s", "5m" or "2h"`,
				"services[0].limits: must be an object in braces, not a list",
				"services[0].x: is not a known field; the fields here are name, protocols, addresses, ports, pool, path, tcpHeader, udpHeader, headerTlvs, transparent, upstreams, timeouts, limits, shield",
				`services[0].protocols[1]: "icmp" is not known here; write one of tcp, udp`,
				`services[0].pool: there is no pool "gmes"; write the name of one of the pools, or add it`,
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, problems := Read(with(t, tt.old, tt.new))
			if diff := cmp.Diff(tt.want, lines(problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecodeRefusesWhatIsNoDocument(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", "", "the document is not valid JSON at line 1, column 1: unexpected end of JSON input"},
		{"cut short", "{\n  \"schema\": 1,\n", "the document is not valid JSON at line 3, column 1: unexpected end of JSON input"},
		{"comma", "{\n  \"schema\": 1,\n}", "the document is not valid JSON at line 3, column 1: invalid character '}' looking for beginning of object key string"},
		{"two documents", "{} {}", "the document is not valid JSON at line 1, column 4: invalid character '{' after top-level value"},
		{"list", "[]", `the document is a list; it must be an object: { "schema": 1, … }`},
		{"null", "null", `the document is null (leave the field out instead); it must be an object: { "schema": 1, … }`},
		{"not UTF-8", "{\"schema\": \"\xff\"}", "the document is not UTF-8 text; save it as UTF-8"},
		{"too large", strings.Repeat(" ", MaxSize) + "{}", "the document has 1048578 bytes; at most 1048576 are allowed"},
		{"too deep", strings.Repeat("[", 20000) + strings.Repeat("]", 20000), "the document is not valid JSON at line 1, column 10001: invalid character '[' exceeded max depth"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, problems := Read([]byte(tt.text))
			if diff := cmp.Diff([]string{tt.want}, lines(problems)); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if !reflect.ValueOf(s).IsZero() {
				t.Errorf("got %+v, want nothing", s)
			}
		})
	}
}

// A value of a megabyte in the wrong place is still one sentence.
func TestProblemsAreShort(t *testing.T) {
	long := strings.Repeat("ä", 100_000)
	for _, old := range []string{`wan0`, `203.0.113.10/32`, `10.0.0.20`, `games`, `tcp`, `1-65535`, `v2`, `schema`, `edge`} {
		_, problems := Read(with(t, old, long))
		if len(problems) == 0 {
			t.Errorf("%s: no problem", old)
		}
		for _, p := range problems {
			if len(p.String()) > 500 {
				t.Errorf("%s: a problem has %d bytes: %.200s", old, len(p.String()), p)
			}
		}
	}
}

// FuzzDecode: nothing panics; what decodes is stable when encoded; what is valid stays so with its defaults.
func FuzzDecode(f *testing.F) {
	for _, name := range []string{"smallest.json", "fresh.json", "schema-1.json"} {
		f.Add(readFile(f, name))
	}
	f.Add([]byte(`{"schema":1,"services":[{"ports":["0-70000"]}],"pools":[{"origins":[{"port":"1-2"}]}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		Read(data)
		s, problems := Decode(data)
		if len(problems) > 0 {
			return
		}
		encoded := Encode(s)
		if len(encoded) > MaxSize {
			return // the indented form can be larger than what it came from; Validate refuses it
		}
		again, problems := Decode(encoded)
		if len(problems) > 0 || !reflect.DeepEqual(again, s) {
			t.Fatalf("decoded again: %v\n%s", problems, encoded)
		}
		if twice := Encode(again); !bytes.Equal(twice, encoded) {
			t.Fatalf("encoded again:\n%s\nfirst:\n%s", twice, encoded)
		}
		if !json.Valid(encoded) {
			t.Fatalf("not JSON: %s", encoded)
		}
		valid := len(s.Validate()) == 0
		if problems := s.WithDefaults().Validate(); valid != (len(problems) == 0) {
			t.Fatalf("valid is %t, but with its defaults: %v", valid, problems)
		}
	})
}

func TestNewer(t *testing.T) {
	tests := []struct {
		document string
		want     bool
	}{
		{`{"schema": 1}`, false}, {`{"schema": 2, "unheard": {}}`, true}, {`{}`, false}, {``, false}, {`{"schema": "2"}`, false}, {`{"schema": 2`, false},
	}
	for _, test := range tests {
		if got := Newer([]byte(test.document)); got != test.want {
			t.Errorf("%s: got %v, want %v", test.document, got, test.want)
		}
	}
}
