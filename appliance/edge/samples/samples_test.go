package samples

import (
	"fmt"
	"net/url"
	"testing"

	"breakwater/appliance/status"
)

func TestTheLastOfEveryKindAreKept(t *testing.T) {
	var s Store
	for i := range 3 * PerKind {
		s.Add(status.Sample{Service: "web", Vector: status.VectorSYN, Length: i})
		s.Add(status.Sample{Service: "web", Vector: status.VectorUDP, Length: i})
	}
	s.Add(status.Sample{Vector: status.VectorICMP, Bytes: make([]byte, 500)})
	list := s.List(Query{})
	if len(list) != 2*PerKind+1 {
		t.Fatalf("got %d packets, want %d", len(list), 2*PerKind+1)
	}
	if got := list[0].Length; got != 2*PerKind {
		t.Errorf("the oldest is the %d. packet, want the %d.", got, 2*PerKind)
	}
	for i := 1; i < len(list); i++ {
		if list[i].Number <= list[i-1].Number {
			t.Fatalf("packet %d is behind packet %d", list[i].Number, list[i-1].Number)
		}
	}
	if last := list[len(list)-1]; len(last.Bytes) != status.MaxSample {
		t.Errorf("%d bytes are kept, want %d", len(last.Bytes), status.MaxSample)
	}
}

func TestQueries(t *testing.T) {
	var s Store
	for _, k := range []kind{{"web", "syn"}, {"", "syn"}, {"web", "udp"}} {
		s.Add(status.Sample{Service: k.service, Vector: k.vector})
	}
	tests := []struct {
		query string
		want  string
	}{
		{"", "[1 2 3]"},
		{"service=web", "[1 3]"},
		{"service=", "[2]"},
		{"vector=syn", "[1 2]"},
		{"service=web&vector=udp", "[3]"},
		{"since=2", "[3]"},
		{"since=3", "[]"},
		{"since=4", "[1 2 3]"}, // edge was restarted
	}
	for _, test := range tests {
		values, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		q, err := Parse(values)
		if err != nil {
			t.Fatal(err)
		}
		numbers := []uint64{}
		for _, sample := range s.List(q) {
			numbers = append(numbers, sample.Number)
		}
		if got := fmt.Sprint(numbers); got != test.want {
			t.Errorf("%q: got %s, want %s", test.query, got, test.want)
		}
	}
	if _, err := Parse(url.Values{"since": {"-1"}}); err == nil {
		t.Error("since=-1 is taken")
	}
}

func TestNoFloodOfKindsFillsTheMemory(t *testing.T) {
	var s Store
	for i := range 10 * MaxKinds {
		s.Add(status.Sample{Service: "steady"})
		s.Add(status.Sample{Service: fmt.Sprint(i)})
	}
	if len(s.kinds) != MaxKinds {
		t.Errorf("there are %d kinds, want %d", len(s.kinds), MaxKinds)
	}
	if _, kept := s.kinds[kind{service: "steady"}]; !kept {
		t.Error("what comes all the time was forgotten")
	}
}
