package settings

import (
	"strings"
	"testing"
)

func TestPacketRuleProblems(t *testing.T) {
	tests := []struct {
		name string
		rule PacketRule
		want string // part of the problem; empty: none
	}{
		{"a length", PacketRule{Name: "short", MaxLength: 100}, ""},
		{"a payload", PacketRule{Name: "a2s", Payload: "ffffffff 54 ??"}, ""},
		{"half a byte", PacketRule{Name: "a2s", Payload: "fff"}, "is not 1 to 16 bytes in hex"},
		{"too long", PacketRule{Name: "a2s", Payload: strings.Repeat("ff", 17)}, "is not 1 to 16 bytes in hex"},
		{"no hex", PacketRule{Name: "a2s", Payload: "zz"}, "no byte in hex"},
		{"half any", PacketRule{Name: "a2s", Payload: "f?"}, "no byte in hex"},
		{"everything", PacketRule{Name: "all"}, "matches every packet"},
		{"everything, said otherwise", PacketRule{Name: "all", MinTTL: 1, Payload: "?? ??", SourcePorts: Ports{1, 65535}}, "matches every packet"},
		{"count everything", PacketRule{Name: "all", Action: "count"}, ""},
		{"no name", PacketRule{MaxLength: 100}, "name"},
		{"upside down", PacketRule{Name: "r", MinLength: 9, MaxLength: 8}, "more than maxLength"},
		{"ttl upside down", PacketRule{Name: "r", MinTTL: 9, MaxTTL: 8}, "more than maxTtl"},
		{"out of bounds", PacketRule{Name: "r", MinLength: -1}, "out of bounds"},
		{"unknown action", PacketRule{Name: "r", MaxLength: 1, Action: "burn"}, "not known here"},
		{"unknown protocol", PacketRule{Name: "r", Protocol: "icmp"}, "not known here"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := mustRead(t, "smallest.json")
			s.Services[0].Shield.PacketRules = []PacketRule{tt.rule}
			var got []string
			for _, p := range s.Validate() {
				got = append(got, p.String())
			}
			all := strings.Join(got, "\n")
			if tt.want == "" && all != "" || tt.want != "" && !strings.Contains(all, tt.want) {
				t.Errorf("got %q, want %q", all, tt.want)
			}
		})
	}
}

func TestShieldBounds(t *testing.T) {
	s := mustRead(t, "smallest.json")
	s.Shield = Shield{Mode: "perhaps", Fragments: "some"}
	s.Services[0].Shield.Reflectors, s.Services[0].Shield.SYNCookies, s.Services[0].Shield.SYNRate = "maybe", "never", -1
	for range maxRules + 1 {
		s.Services[0].Shield.PacketRules = append(s.Services[0].Shield.PacketRules, PacketRule{Name: "same", MaxLength: 1})
	}
	var fields []string
	for _, p := range s.Validate() {
		fields = append(fields, p.Field)
	}
	all := strings.Join(fields, " ")
	for _, want := range []string{"shield.mode", "shield.fragments", "services[0].shield.reflectors", "services[0].shield.synCookies", "services[0].shield.synRate", "services[0].shield.packetRules", "services[0].shield.packetRules[1].name"} {
		if !strings.Contains(all, want) {
			t.Errorf("no problem of %s in %s", want, all)
		}
	}
}
