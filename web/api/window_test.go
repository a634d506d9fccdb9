package api

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

func TestWindowIsOneJSONObject(t *testing.T) {
	for _, n := range []int{0, 1, 3} {
		want := status.SessionList{Total: 9, Matched: n, Sessions: make([]status.Session, n)}
		for i := range want.Sessions {
			want.Sessions[i] = status.Session{ID: status.ID(i + 1), Protocol: plan.TCP, Service: "</script>"}
		}
		var out bytes.Buffer
		var got status.SessionList
		if err := writeWindow(&out, want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", out.Bytes(), err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateComparable(status.Session{})); diff != "" {
			t.Errorf("%d sessions (-) became (+):\n%s", n, diff)
		}
	}
}

func BenchmarkWindowOf50000(b *testing.B) {
	window := status.SessionList{Total: 50_000, Matched: 50_000, Sessions: make([]status.Session, 50_000)}
	b.ReportAllocs()
	for b.Loop() {
		if err := writeWindow(io.Discard, window); err != nil {
			b.Fatal(err)
		}
	}
}
