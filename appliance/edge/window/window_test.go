package window

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

var began = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// crowd is n sessions: the later ones are newer, every third of another service, every fourth a flow.
func crowd(n int) []status.Session {
	list := make([]status.Session, n)
	for i := range list {
		list[i] = status.Session{
			ID: status.ID(i + 1), Protocol: plan.TCP, Service: "games", State: "open",
			Client: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, byte(i >> 8), byte(i)}), uint16(1000+i%5000)),
			Edge:   netip.MustParseAddrPort("198.51.100.1:25565"),
			Origin: fmt.Sprintf("games-%d", i%7), OriginAddress: netip.MustParseAddrPort("10.0.0.20:25565"),
			Started: began.Add(time.Duration(i) * time.Second), Idle: float64(i * 37 % 1000), BytesToOrigin: uint64(i * 7919 % 100003),
		}
		if i%3 == 0 {
			list[i].Service = "web"
		}
	}
	return list
}

func choose(t *testing.T, list []status.Session, query string) status.SessionList {
	t.Helper()
	v, err := url.ParseQuery(query)
	if err != nil {
		t.Fatal(err)
	}
	q, err := Parse(v)
	if err != nil {
		t.Fatal(err)
	}
	w := New(q)
	for i := range list {
		s := list[i]
		w.Add(&s)
		s = status.Session{} // Add must not keep the pointer
	}
	return w.List()
}

func ids(l status.SessionList) (list []status.ID) {
	for _, s := range l.Sessions {
		list = append(list, s.ID)
	}
	return list
}

func TestFilters(t *testing.T) {
	list := crowd(12)
	list[4].Client = netip.MustParseAddrPort("[2001:db8::5]:77")
	list[5].OriginAddress = netip.AddrPort{}
	for query, want := range map[string]string{
		"":                                   "12 11 10 9 8 7 6 5 4 3 2 1",
		"service=web":                        "10 7 4 1",
		"client=203.0.0.3":                   "4",
		"client=::ffff:203.0.0.3":            "4",
		"client=2001:db8::5":                 "5",
		"client=198.51.100.1":                "",
		"search=DB8::5":                      "5",
		"search=%5D:77":                      "5",
		"search=203.0.0.1":                   "12 11 2",
		"search=games-3":                     "11 4",
		"search=web":                         "10 7 4 1",
		"search=10.0.0.20":                   "12 11 10 9 8 7 5 4 3 2 1",
		"search=000000000000c":               "12",
		"search=:25565&limit=2":              "12 11",
		"search=nobody":                      "",
		"limit=3":                            "12 11 10",
		"limit=3&offset=10":                  "2 1",
		"limit=3&offset=100":                 "",
		"offset=10":                          "2 1",
		"sort=started":                       "1 2 3 4 5 6 7 8 9 10 11 12",
		"sort=started&order=desc&limit=2":    "12 11",
		"order=asc&limit=2":                  "1 2",
		"sort=service&limit=3":               "2 3 5",
		"sort=service&order=desc&limit=5":    "1 4 7 10 2",
		"sort=client&limit=2&order=desc":     "5 12",
		"sort=bytes&order=desc&limit=1":      "12",
		"sort=origin&limit=3":                "1 8 2",
		"service=web&sort=idle&limit=2":      "1 4",
		"service=web&search=203.0.0.9&x=nul": "10",
	} {
		got := strings.Trim(fmt.Sprint(numbers(choose(t, list, query))), "[]")
		if got != want {
			t.Errorf("%q: got %s, want %s", query, got, want)
		}
	}
}

func numbers(l status.SessionList) (list []uint64) {
	for _, id := range ids(l) {
		list = append(list, uint64(id))
	}
	return list
}

// TestWindowsFitTogether: page by page it is the same as all at once, whatever the order.
func TestWindowsFitTogether(t *testing.T) {
	list := crowd(5000)
	for sort := range orders {
		for _, order := range []string{"asc", "desc"} {
			query := "service=games&sort=" + sort + "&order=" + order
			all := choose(t, list, query)
			if all.Total != 5000 || all.Matched != len(all.Sessions) {
				t.Fatalf("%s: got %d of %d, and %d sessions", query, all.Matched, all.Total, len(all.Sessions))
			}
			for offset := 0; offset < all.Matched; offset += 700 {
				part := choose(t, list, fmt.Sprintf("%s&limit=100&offset=%d", query, offset))
				want := ids(all)[offset:min(offset+100, all.Matched)]
				if part.Total != 5000 || part.Matched != all.Matched || !slices.Equal(ids(part), want) {
					t.Errorf("%s from %d: got %v, want %v", query, offset, ids(part), want)
				}
			}
		}
	}
}

func TestBadQueries(t *testing.T) {
	for _, query := range []string{
		"limit=-1", "limit=x", "limit=", "limit=99999999999999999999", "offset=-1", "offset=1.5", "client=x", "client=", "client=203.0.113.0/24",
		"sort=size", "sort=%00", "order=up", "search=" + strings.Repeat("x", maxSearch+1),
	} {
		v, _ := url.ParseQuery(query)
		if q, err := Parse(v); err == nil {
			t.Errorf("%.40q was taken as %+v", query, q)
		}
	}
}

// TestMemoryOfAWindow: of 50,000 sessions only the window is kept.
func TestMemoryOfAWindow(t *testing.T) {
	list := crowd(50_000)
	w := New(Query{Limit: 100, Search: "203.0.1"})
	for i := range list {
		w.Add(&list[i])
	}
	if got := cap(w.kept); got > 400 {
		t.Errorf("room for %d sessions, want about 200", got)
	}
	full := testing.AllocsPerRun(1, func() {
		for i := range list {
			w.Add(&list[i])
		}
	})
	if full > 10 {
		t.Errorf("%v allocations for 50,000 sessions", full)
	}
}

func BenchmarkWindow(b *testing.B) {
	list := crowd(50_000)
	for b.Loop() {
		w := New(Query{Limit: 100, Search: "203.0.1", Sort: "bytes", Descending: true})
		for i := range list {
			w.Add(&list[i])
		}
		w.List()
	}
}

// BenchmarkDeepWindow is the worst: nearly all sessions are before the window.
func BenchmarkDeepWindow(b *testing.B) {
	list := crowd(50_000)
	for b.Loop() {
		w := New(Query{Limit: 100, Offset: 40_000, Sort: "bytes", Descending: true})
		for i := range list {
			w.Add(&list[i])
		}
		w.List()
	}
}
