package settings

import (
	"strings"
	"testing"
)

// TestEachPresetIsASoundService makes settings from each preset as the wizard does: one origin, no ports of its own.
func TestEachPresetIsASoundService(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range Presets() {
		t.Run(p.ID, func(t *testing.T) {
			if seen[p.ID] {
				t.Error("there are two of this name")
			}
			seen[p.ID] = true
			s := Settings{Schema: Schema,
				Edge:     Edge{Interfaces: []string{"wan0"}, Addresses: []Prefix{parsePrefix(t, "203.0.113.10")}},
				Pools:    []Pool{{Name: p.ID, Health: p.Health, Origins: []Origin{{Address: "10.0.0.20"}}}},
				Services: []Service{{Name: p.ID, Protocols: p.Protocols, Ports: p.Ports, Pool: p.ID, TCPHeader: p.TCPHeader, UDPHeader: p.UDPHeader}}}
			for _, problem := range s.Validate() {
				t.Error(problem)
			}
			if read, problems := Read(Encode(s)); len(problems) > 0 || len(Diff(read, s)) > 0 {
				t.Errorf("it is not read back as it was written: %v", problems)
			}
		})
	}
}

func TestPresetsTellWhatTheirOwnersMustKnow(t *testing.T) {
	for _, p := range Presets() {
		if p.Name == "" || len(p.Notes) == 0 {
			t.Errorf("%s has no name or no notes", p.ID)
		}
		for _, note := range p.Notes {
			if !strings.HasSuffix(note, ".") {
				t.Errorf("%s: %q is no sentence", p.ID, note)
			}
		}
		if p.Health.Check == "tcp" && (p.Health.Port == 0 || !strings.Contains(strings.Join(p.Protocols, " "), "tcp")) {
			t.Errorf("%s is checked on a port that the service does not have: %+v", p.ID, p.Health)
		}
	}
}

// TestMinecraftProbeIsAStatusRequest reads the frames of the probe by their lengths.
func TestMinecraftProbeIsAStatusRequest(t *testing.T) {
	probe := minecraftJava().Probe.Send
	first := int(probe[0])
	if len(probe) != 1+first+2 {
		t.Fatalf("the first frame says %d bytes and %d are there", first, len(probe)-3)
	}
	if handshake, status := probe[1:1+first], probe[1+first:]; handshake[0] != 0 || handshake[first-1] != 1 || string(status) != "\x01\x00" {
		t.Errorf("handshake %q, status request %q", handshake, status)
	}
}

func parsePrefix(t *testing.T, text string) Prefix {
	t.Helper()
	var p Prefix
	if err := p.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return p
}
