package seed

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/settings"
)

// hash is of "seven boats under granite 42".
const hash = "$argon2id$v=19$m=19456,t=2,p=1$c2VlZCBmb3IgYSB0ZXN0IQ$3qYmRqZ5G7N1b8m0u3yq7dJgkq7m1Zq1oV0yqv0pC0E"

// document is valid settings; different names make different documents.
func document(name string) string {
	return fmt.Sprintf(`{ "schema": 1, "edge": { "interfaces": ["wan0"], "addresses": ["203.0.113.10/32"] },
  "pools": [ { "name": %q, "origins": [ { "address": "10.0.0.20" } ] } ],
  "services": [ { "name": "everything", "protocols": ["tcp"], "ports": ["1-65535"], "pool": %[1]q } ] }`, name)
}

func account(name, role string) string {
	return fmt.Sprintf(`{ "name": %q, "role": %q, "passwordHash": %q }`, name, role, hash)
}

func file(settings string, accounts ...string) []byte {
	return fmt.Appendf(nil, `{ "schema": 1, "settings": %s, "accounts": [ %s ] }`, settings, strings.Join(accounts, ", "))
}

func TestRead(t *testing.T) {
	s, problems := Read(file(document("games"), account("Anna", "admin"), account("ben", "viewer")))
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	want := []access.Given{{Name: "anna", Role: access.Admin, Hash: hash}, {Name: "ben", Role: access.Viewer, Hash: hash}}
	if !slices.Equal(s.Accounts, want) {
		t.Errorf("accounts %v, want %v", s.Accounts, want)
	}
	read, problems := settings.Read(s.Settings)
	if len(problems) > 0 || read.Pools[0].Name != "games" || !bytes.Equal(settings.Encode(read), s.Settings) {
		t.Errorf("settings %s: %v", s.Settings, problems)
	}
}

func TestReadTellsEveryProblem(t *testing.T) {
	good, anna := document("games"), account("anna", "admin")
	tests := []struct {
		name, file string
		want       []string // the beginnings of the problems, in order
	}{
		{"empty", "", []string{"the file is not valid JSON"}},
		{"not text", "\xff\xfe{", []string{"the file is not UTF-8"}},
		{"too large", `{"schema":1}` + strings.Repeat(" ", MaxSize), []string{"the file has more than 2097152 bytes"}},
		{"a list", "[]", []string{"must be an object", "schema: is missing", "settings: is missing", "accounts: is missing"}},
		{"deep", strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20), []string{"the file is not valid JSON"}},
		{"nothing", "{}", []string{"schema: is missing", "settings: is missing", "accounts: is missing"}},
		{"a newer one", strings.Replace(string(file(good, anna)), `"schema": 1`, `"schema": 2`, 1), []string{"schema: is 2; this version reads 1"}},
		{"another case", `{"Schema":1,"settings":` + good + `,"accounts":[` + anna + `]}`, []string{"Schema: is no field here", "schema: is missing"}},
		{"a field more", `{"schema":1,"owner":1,"settings":` + good + `,"accounts":[` + anna + `]}`, []string{"owner: is no field here; there are schema, settings, accounts"}},
		{"twice", `{"schema":1,"settings":{},"settings":` + good + `,"accounts":[` + anna + `]}`, []string{"settings: is given twice"}},
		{"two documents", string(file(good, anna)) + "{}", []string{"the file is not valid JSON"}},
		{"settings of no kind", string(file("[]", anna)), []string{"settings: the document is a list"}},
		{"a problem of the settings", string(file(strings.Replace(good, "1-65535", "1-65536", 1), anna)), []string{"settings.services[0].ports[0]: "}},
		{"nobody", string(file(good)), []string{"accounts: needs at least one with the role admin"}},
		{"no admin", string(file(good, account("ben", "operator"))), []string{"accounts: needs at least one with the role admin"}},
		{"no list", `{"schema":1,"settings":` + good + `,"accounts":null}`, []string{"accounts: must be a list"}},
		{"no account", string(file(good, anna, "7")), []string{"accounts[1]: must be an object", "accounts[1].name: is missing", "accounts[1].role: is missing", "accounts[1].passwordHash: is missing"}},
		{"the same name", string(file(good, anna, account("ANNA", "viewer"))), []string{"accounts[1].name: is that of another account"}},
		{"names", string(file(good, anna, account("", "viewer"), account("local", "viewer"))), []string{"accounts[1].name: a name has", "accounts[2].name: a name has"}},
		{"roles", string(file(good, anna, account("ben", "root"))), []string{"accounts[1].role: a role is"}},
		{"a password", string(file(good, `{"name":"anna","role":"admin","password":"seven boats"}`)),
			[]string{"accounts[0].password: is not taken, as whoever finds the stick could read it; run breakwater hash-password", "accounts[0].passwordHash: is missing"}},
		{"a hash that costs hours", string(file(good, strings.Replace(anna, "t=2", "t=16", 1))), []string{"accounts[0].passwordHash: a password hash is argon2id"}},
		{"a field that hides", string(file(good, anna, "{\"\u202e\\n\":1}")), []string{`accounts[1]."\u202e\n": is no field`}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s, problems := Read([]byte(test.file))
			if s.Settings != nil || s.Accounts != nil {
				t.Errorf("got a seed all the same: %v", s)
			}
			for i, want := range test.want {
				if i >= len(problems) || !strings.HasPrefix(problems[i].String(), want) {
					t.Fatalf("got %q, want %q", problems, test.want)
				}
			}
		})
	}
	_, problems := Read(file(good, slices.Repeat([]string{"{}"}, 200)...))
	if len(problems) != maxTold {
		t.Errorf("told %d problems at once, want %d", len(problems), maxTold)
	}
}

// FuzzRead: whatever is on a stick, there is a seed without problems or problems without a seed, and no problem shows a
// hash or breaks the line.
func FuzzRead(f *testing.F) {
	f.Add(file(document("games"), account("anna", "admin")))
	f.Add([]byte(`{"schema":1,"settings":{"schema":1},"accounts":[{"name":"a","role":"admin","passwordHash":"` + hash + `"},{}]}`))
	f.Add([]byte(`{"schema":"1","accounts":{}}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, problems := Read(data)
		if (len(problems) == 0) != (len(s.Accounts) > 0 && len(s.Settings) > 0) {
			t.Fatalf("%d problems, and %v", len(problems), s)
		}
		for _, p := range problems {
			if strings.Contains(p.String(), hash[30:]) {
				t.Errorf("a hash is shown: %s", p)
			}
		}
		if len(problems) > 0 {
			return
		}
		if _, problems := settings.Read(s.Settings); len(problems) > 0 {
			t.Errorf("settings that control will refuse: %v", problems)
		}
		for _, a := range s.Accounts {
			if _, err := access.CheckName(a.Name); err != nil || access.CheckHash(string(a.Hash)) != nil {
				t.Errorf("account %q that access will refuse", a.Name)
			}
		}
	})
}
