package settings_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/settings"
)

func TestMerge(t *testing.T) {
	document := func(services string) settings.Settings {
		s, problems := settings.Decode([]byte(`{"schema":1,"pools":[{"name":"games","origins":[{"address":"10.0.0.20"}]}],"services":[` + services + `]}`))
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		return s
	}
	const (
		a      = `{"name":"a","protocols":["tcp"],"ports":["1"],"pool":"games"}`
		aPorts = `{"name":"a","protocols":["tcp"],"ports":["1-9"],"pool":"games"}`
		aV1    = `{"name":"a","protocols":["tcp"],"ports":["1"],"pool":"games","tcpHeader":"v1"}`
		aBoth  = `{"name":"a","protocols":["tcp"],"ports":["1-9"],"pool":"games","tcpHeader":"v1"}`
		aUDP   = `{"name":"a","protocols":["udp"],"ports":["1"],"pool":"games"}`
		b      = `{"name":"b","protocols":["tcp"],"ports":["2"],"pool":"games"}`
		c      = `{"name":"c","protocols":["tcp"],"ports":["3"],"pool":"games"}`
	)
	for _, tt := range []struct{ name, base, mine, theirs, want string }{
		{"nothing was changed", a, a, a, a},
		{"only mine", a, aPorts, a, aPorts},
		{"only theirs", a, a, aV1, aV1},
		{"two fields of one service", a, aPorts, aV1, aBoth},
		{"a field that was set is set back to its default", aV1, a, aV1 + "," + b, a + "," + b},
		{"the same field", a, aPorts, aUDP, `{"name":"a","protocols":["udp"],"ports":["1-9"],"pool":"games"}`},
		{"the same value", a, aPorts, aPorts, aPorts},
		{"both added", a, a + "," + b, a + "," + c, a + "," + c + "," + b},
		{"both added the same name", a, a + "," + b, a + "," + b, a + "," + b},
		{"mine is removed", a + "," + b, a, aV1 + "," + b, aV1},
		{"theirs is removed", a + "," + b, aPorts + "," + b, a, aPorts},
		{"what I removed they changed", a + "," + b, b, aV1 + "," + b, b},
		{"what they removed I changed", a + "," + b, aPorts + "," + b, b, b + "," + aPorts},
		{"I moved one", a + "," + b, b + "," + a, aV1 + "," + b, b + "," + aV1},
		{"they moved one", a + "," + b, aPorts + "," + b, b + "," + a, b + "," + aPorts},
		{"everything is gone", a, "", a + "," + b, b},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := settings.Merge(document(tt.base), document(tt.mine), document(tt.theirs))
			if diff := cmp.Diff(string(settings.Encode(document(tt.want))), string(settings.Encode(got))); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
