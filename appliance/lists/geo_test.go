package lists

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"breakwater/appliance/lists/mmdbtest"
)

func geoFile(t *testing.T, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "geo.mmdb")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGeo reads files as three publishers word them.
func TestGeo(t *testing.T) {
	type m = mmdbtest.Map
	path := geoFile(t, mmdbtest.Write("Test", "CC BY 4.0", map[string]any{
		"192.0.2.0/24":       m{"country": m{"iso_code": "DE"}},
		"198.51.100.0/25":    m{"country": "Austria", "country_code": "AT", "asn": "AS64496"},
		"198.51.100.128/25":  m{"registered_country": m{"iso_code": "FR"}, "autonomous_system_number": uint32(64497)},
		"2001:db8::/32":      m{"country": m{"iso_code": "DE"}, "autonomous_system_number": uint32(64496)},
		"2001:db9:8000::/33": m{"other": "thing"},
	}))
	g, err := OpenGeo(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if g.Countries != 4 || g.Networks != 3 || g.Type != "Test" || g.Description != "CC BY 4.0" || g.Built.Unix() != 1_700_000_000 {
		t.Errorf("got %+v", g)
	}
	countries, err := g.OfCountries(func(code string) uint8 { return map[string]uint8{"DE": 8, "AT": 9, "FR": 10}[code] })
	if want := "[{192.0.2.0/24 8} {198.51.100.0/25 9} {198.51.100.128/25 10} {2001:db8::/32 8}]"; err != nil || fmt.Sprint(countries) != want {
		t.Errorf("got %v, %v, want %s", countries, err, want)
	}
	networks, err := g.OfNetworks(func(asn uint32) uint8 { return map[uint32]uint8{64496: 8}[asn] })
	if want := "[{198.51.100.0/25 8} {2001:db8::/32 8}]"; err != nil || fmt.Sprint(networks) != want {
		t.Errorf("got %v, %v, want %s", networks, err, want)
	}
}

// TestGeoBroken: a file that is cut, changed, or about something else is an error, wherever it is wrong.
func TestGeoBroken(t *testing.T) {
	type m = mmdbtest.Map
	if _, err := OpenGeo(geoFile(t, mmdbtest.Write("Test", "", map[string]any{"192.0.2.0/24": m{"city": "here"}}))); !errors.Is(err, ErrNotGeo) {
		t.Errorf("about cities: %v", err)
	}
	if _, err := OpenGeo(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file can be read")
	}
	whole := mmdbtest.Write("Test", "", map[string]any{"192.0.2.0/24": m{"country": m{"iso_code": "DE"}}})
	for at := 0; at < len(whole); at += 5 {
		if _, err := OpenGeo(geoFile(t, whole[:at])); err == nil {
			t.Fatalf("%d of %d bytes can be read", at, len(whole))
		}
	}
	for at := 0; at < len(whole); at += 3 { // some changes change nothing, none may end the program
		changed := append([]byte{}, whole...)
		changed[at] ^= 0x55
		if g, err := OpenGeo(geoFile(t, changed)); err == nil {
			_ = g.Close()
		}
	}
}
