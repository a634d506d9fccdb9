package lists

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
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

// TestGeoBuiltWhenever: what a file says of its time is shown, so it must have a form in JSON.
func TestGeoBuiltWhenever(t *testing.T) {
	for epoch, want := range map[uint64]string{0: `"1970-01-01T00:00:00Z"`, 253402214400: `"9999-12-31T00:00:00Z"`, 253402214401: `"0001-01-01T00:00:00Z"`, math.MaxUint64: `"0001-01-01T00:00:00Z"`} {
		if got, err := json.Marshal(builtAt(epoch)); err != nil || string(got) != want {
			t.Errorf("%d is %s, %v, want %s", epoch, got, err, want)
		}
	}
	whole := mmdbtest.Write(strings.Repeat("long ", 50), "", map[string]any{"192.0.2.0/24": mmdbtest.Map{"country": "DE"}})
	mad := bytes.Replace(whole, binary.BigEndian.AppendUint64(nil, 1_700_000_000), bytes.Repeat([]byte{0x7f}, 8), 1)
	g, err := OpenGeo(geoFile(t, mad))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if !g.Built.IsZero() || len(g.Type) > 110 {
		t.Errorf("it was built at %v, and is called %q", g.Built, g.Type)
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
