package settings

import (
	"testing"
	"time"
)

func TestPortsText(t *testing.T) {
	tests := []struct {
		name, text string
		want       Ports
		wrong      string
	}{
		{"one", "443", Ports{443, 443}, ""},
		{"range", "1000-2000", Ports{1000, 2000}, ""},
		{"all", "1-65535", Ports{1, 65535}, ""},
		{"last", "65535", Ports{65535, 65535}, ""},
		{"zero", "0", Ports{}, `"0" goes beyond the ports there are, 1 to 65535`},
		{"beyond", "0-70000", Ports{}, `"0-70000" goes beyond the ports there are, 1 to 65535`},
		{"first beyond", "70000-80000", Ports{}, `"70000-80000" goes beyond the ports there are, 1 to 65535`},
		{"beyond 64 bits", "1-99999999999999999999", Ports{}, `"1-99999999999999999999" goes beyond the ports there are, 1 to 65535`},
		{"backwards", "20-10", Ports{}, `"20-10" ends before it begins; write it as "10-20"`},
		{"nothing", "", Ports{}, `"" is not a port or port range; write it like "443" or "1000-2000"`},
		{"open", "1000-", Ports{}, `"1000-" is not a port or port range; write it like "443" or "1000-2000"`},
		{"negative", "-5", Ports{}, `"-5" is not a port or port range; write it like "443" or "1000-2000"`},
		{"sign", "+5", Ports{}, `"+5" is not a port or port range; write it like "443" or "1000-2000"`},
		{"space", "1 - 2", Ports{}, `"1 - 2" is not a port or port range; write it like "443" or "1000-2000"`},
		{"word", "http", Ports{}, `"http" is not a port or port range; write it like "443" or "1000-2000"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got Ports
			checkText(t, got.UnmarshalText([]byte(tt.text)), tt.wrong)
			if got != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func checkText(t *testing.T, err error, want string) {
	t.Helper()
	got := ""
	if err != nil {
		got = err.Error()
	}
	if got != want {
		t.Errorf("got error %q, want %q", got, want)
	}
}

func TestPortsCount(t *testing.T) {
	for text, want := range map[string]int{"443": 1, "1000-1009": 10, "1-65535": 65535} {
		var p Ports
		if err := p.UnmarshalText([]byte(text)); err != nil || p.Count() != want {
			t.Errorf("%s: got %d ports (%v), want %d", text, p.Count(), err, want)
		}
	}
	if got := (Ports{}).Count(); got != 0 {
		t.Errorf("no port: got %d ports, want 0", got)
	}
}

func TestPrefixText(t *testing.T) {
	tests := []struct{ name, text, want, wrong string }{
		{"address", "203.0.113.10", "203.0.113.10/32", ""},
		{"address of IPv6", "2001:DB8::1", "2001:db8::1/128", ""},
		{"network", "203.0.113.0/24", "203.0.113.0/24", ""},
		{"network of IPv6", "2001:db8::/32", "2001:db8::/32", ""},
		{"host bits", "203.0.113.10/24", "", `"203.0.113.10/24" is an address inside a network; write "203.0.113.10/32" for the one address or "203.0.113.0/24" for the network`},
		{"mapped", "::ffff:203.0.113.10", "", `"::ffff:203.0.113.10/128" is an IPv4 address in IPv6 notation; write it as "203.0.113.10"`},
		{"zone", "fe80::1%eth0", "", `"fe80::1%eth0" has a zone, which has no meaning here; write it as "fe80::1"`},
		{"too long", "203.0.113.10/33", "", `"203.0.113.10/33" is not an address or network; write it like "203.0.113.10" or "2001:db8::/64"`},
		{"leading zero", "203.0.113.010", "", `"203.0.113.010" is not an address or network; write it like "203.0.113.10" or "2001:db8::/64"`},
		{"name", "example.net", "", `"example.net" is not an address or network; write it like "203.0.113.10" or "2001:db8::/64"`},
		{"nothing", "", "", `"" is not an address or network; write it like "203.0.113.10" or "2001:db8::/64"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var p Prefix
			checkText(t, p.UnmarshalText([]byte(tt.text)), tt.wrong)
			if got, err := p.MarshalText(); err != nil || string(got) != tt.want {
				t.Errorf("got %q (%v), want %q", got, err, tt.want)
			}
		})
	}
}

func TestDurationText(t *testing.T) {
	tests := []struct {
		name, text string
		want       time.Duration
		canonical  string
	}{
		{"seconds", "90s", 90 * time.Second, "1m30s"},
		{"minutes", "300s", 5 * time.Minute, "5m"},
		{"hours", "120m", 2 * time.Hour, "2h"},
		{"hours and minutes", "1h30m", 90 * time.Minute, "1h30m"},
		{"hours and seconds", "1h0m5s", time.Hour + 5*time.Second, "1h0m5s"},
		{"ten of each", "10h10m10s", 10*time.Hour + 10*time.Minute + 10*time.Second, "10h10m10s"},
		{"milliseconds", "0.5s", 500 * time.Millisecond, "500ms"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var d Duration
			if err := d.UnmarshalText([]byte(tt.text)); err != nil || time.Duration(d) != tt.want {
				t.Fatalf("got %v (%v), want %v", time.Duration(d), err, tt.want)
			}
			if d.String() != tt.canonical {
				t.Errorf("got %q, want %q", d, tt.canonical)
			}
		})
	}
}

func TestServerText(t *testing.T) {
	const wrong = ` is not the address of a DNS server; write it like "192.0.2.53" or "192.0.2.53:5353"`
	tests := []struct{ name, text, want, wrong string }{
		{"port left out", "192.0.2.53", "192.0.2.53", ""},
		{"port 53", "192.0.2.53:53", "192.0.2.53", ""},
		{"other port", "192.0.2.53:5353", "192.0.2.53:5353", ""},
		{"IPv6", "2001:db8::53", "2001:db8::53", ""},
		{"IPv6 with port", "[2001:db8::53]:5353", "[2001:db8::53]:5353", ""},
		{"port 0", "192.0.2.53:0", "", `"192.0.2.53:0"` + wrong},
		{"zone", "fe80::1%eth0", "", `"fe80::1%eth0"` + wrong},
		{"name", "dns.example.net", "", `"dns.example.net"` + wrong},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var s Server
			err := s.UnmarshalText([]byte(tt.text))
			checkText(t, err, tt.wrong)
			if got, _ := s.MarshalText(); err == nil && string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// FuzzPorts: what is read is in bounds, in order and reads back from its canonical form.
func FuzzPorts(f *testing.F) {
	for _, text := range []string{"443", "1-65535", "0-70000", "2-1", "007", "", "-", "1-2-3", "99999999999999999999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var p, again Ports
		if err := p.UnmarshalText([]byte(text)); err != nil {
			if p != (Ports{}) {
				t.Fatalf("%q: got %v with an error", text, p)
			}
			return
		}
		if p.First < 1 || p.First > p.Last || p.Count() < 1 {
			t.Fatalf("%q: got %v", text, p)
		}
		if err := again.UnmarshalText([]byte(p.String())); err != nil || again != p {
			t.Fatalf("%q: %v reads back as %v (%v)", text, p, again, err)
		}
	})
}
