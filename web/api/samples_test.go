package api

import (
	"encoding/json"
	"testing"
	"time"

	"breakwater/appliance/history"
)

func TestColumns(t *testing.T) {
	at := func(second int, sessions int64, toClient uint64) history.Sample {
		return history.Sample{Time: time.Unix(int64(1000+second), 0), Sessions: sessions, BytesToClient: toClient}
	}
	tests := []struct {
		name    string
		samples []history.Sample
		want    string // time, sessions and toClient
	}{
		{"none", nil, `[[],[],[]]`},
		{"one has no rate", []history.Sample{at(0, 3, 50)}, `[[1000],[3],[null]]`},
		{"rates", []history.Sample{at(0, 3, 50), at(1, 4, 150), at(3, 4, 350)}, `[[1000,1001,1003],[3,4,4],[null,100,100]]`},
		{"a gap", []history.Sample{at(0, 3, 50), at(9, 4, 150), at(10, 4, 160)}, `[[1000,1001,1009,1010],[3,null,4,4],[null,null,null,10]]`},
		{"counters begin anew", []history.Sample{at(0, 3, 500), at(1, 0, 5), at(2, 0, 9)}, `[[1000,1001,1002],[3,0,0],[null,null,4]]`},
		{"the clock is set back", []history.Sample{at(5, 3, 50), at(2, 4, 60), at(6, 4, 70)}, `[[1005,1006],[3,4],[null,null]]`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := columns(test.samples)
			got, err := json.Marshal([]any{s.Time, s.Sessions, s.ToClient})
			if err != nil || string(got) != test.want {
				t.Errorf("got %s (%v), want %s", got, err, test.want)
			}
			for _, column := range [][]*float64{s.Flows, s.ToOrigin, s.Opened, s.Dropped} {
				if len(column) != len(s.Time) {
					t.Errorf("a column has %d rows, want %d", len(column), len(s.Time))
				}
			}
		})
	}
}

func TestRedact(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"nothing", `{"name": "everything", "ports": ["1-65535"]}`, `{"name": "everything", "ports": ["1-65535"]}`},
		{"a field by its name", `{"apiToken": "x\"y", "name": "z"}`, `{"apiToken": "[secret]", "name": "z"}`},
		{"credentials of a URL", `"https://a:b@acme.example/d"`, `"https://[secret]@acme.example/d"`},
		{"an address is none", `"mailto:anna@example.org", "10.0.0.1:80"`, `"mailto:anna@example.org", "10.0.0.1:80"`},
		{"a cut private key", `"-----BEGIN EC PRIVATE KEY-----\nabc", "x"`, `"[private key], "x"`},
		{"a word", `password=hunter2, user=anna`, `password=[secret], user=anna`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(Redact([]byte(test.text))); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
