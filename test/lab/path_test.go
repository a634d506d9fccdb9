package lab

import (
	"testing"

	"breakwater/appliance/settings"
)

func TestOnPath(t *testing.T) {
	own := settings.Service{Path: "auto"}
	fields := settings.Service{HeaderTLVs: []string{"crc32c"}}
	upstream := settings.Service{Upstreams: make([]settings.Prefix, 1)}
	for _, tt := range []struct {
		path string
		want [4]string // of a plain service, and of those above
	}{
		{"", [4]string{"", "auto", "", ""}},
		{"user", [4]string{"user", "auto", "user", "user"}},
		{"kernel", [4]string{"kernel", "auto", "", ""}},
	} {
		t.Run(tt.path, func(t *testing.T) {
			t.Setenv(pathVariable, tt.path)
			services := []settings.Service{{}, own, fields, upstream}
			OnPath(services)
			for i, s := range services {
				if s.Path != tt.want[i] {
					t.Errorf("got the path %q of service %d, want %q", s.Path, i, tt.want[i])
				}
			}
		})
	}
}
