// Package window chooses from many sessions the few that somebody looks at: filtered, sorted, from an offset on.
//
//	q, err := window.Parse(url.Values{"search": {"203.0.113."}, "sort": {"bytes"}, "limit": {"100"}})
//	w := window.New(q)
//	engine.Sessions(w.Add)
//	list := w.List()
//
// Of 50,000 sessions it keeps no more than twice the window and what is before it.
package window

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"breakwater/appliance/status"
)

// maxSearch bounds what is searched for, in bytes. The longest thing a session has is the name of its service.
const maxSearch = 256

// Query is what is asked for. The zero value asks for all, the newest first.
type Query struct {
	Limit      int // 0: all
	Offset     int // how many of those that match are left out in front
	Service    string
	Client     netip.Addr // the zero Addr: any
	Search     string     // part of an address, a name or an id; upper and lower case are the same
	Sort       string     // started, client, service, origin, idle, bytes, state; empty: started
	Descending bool
}

// orders compares two sessions by what Sort names.
var orders = map[string]func(a, b *status.Session) int{
	"started": func(a, b *status.Session) int { return a.Started.Compare(b.Started) },
	"client":  func(a, b *status.Session) int { return a.Client.Compare(b.Client) },
	"service": func(a, b *status.Session) int { return cmp.Compare(a.Service, b.Service) },
	"origin": func(a, b *status.Session) int {
		return cmp.Or(cmp.Compare(a.Origin, b.Origin), a.OriginAddress.Compare(b.OriginAddress))
	},
	"idle": func(a, b *status.Session) int { return cmp.Compare(a.Idle, b.Idle) },
	"bytes": func(a, b *status.Session) int {
		return cmp.Compare(a.BytesToOrigin+a.BytesToClient, b.BytesToOrigin+b.BytesToClient)
	},
	"state": func(a, b *status.Session) int { return cmp.Compare(a.State, b.State) },
}

// Parse reads the query of a URL: limit, offset, service, client, search, sort, order (asc or desc). Its errors are
// sentences.
func Parse(v url.Values) (q Query, err error) {
	if q.Limit, err = number(v, "limit"); err != nil {
		return q, err
	}
	if q.Offset, err = number(v, "offset"); err != nil {
		return q, err
	}
	if v.Has("client") {
		if q.Client, err = netip.ParseAddr(v.Get("client")); err != nil {
			return q, fmt.Errorf("client=%q is not an IP address", v.Get("client"))
		}
		q.Client = q.Client.Unmap() // as sessions have it
	}
	q.Service, q.Search = v.Get("service"), strings.ToLower(v.Get("search"))
	if len(q.Search) > maxSearch {
		return q, fmt.Errorf("search has %d bytes, at most %d are possible", len(q.Search), maxSearch)
	}
	return q, q.parseOrder(v)
}

func number(v url.Values, name string) (int, error) {
	if !v.Has(name) {
		return 0, nil
	}
	n, err := strconv.ParseUint(v.Get(name), 10, 31)
	if err != nil {
		return 0, fmt.Errorf("%s=%q is not a number from 0 to 2147483647", name, v.Get(name))
	}
	return int(n), nil
}

func (q *Query) parseOrder(v url.Values) error {
	q.Sort = v.Get("sort")
	if _, ok := orders[cmp.Or(q.Sort, "started")]; !ok {
		return fmt.Errorf("sort=%q is none of started, client, service, origin, idle, bytes, state", q.Sort)
	}
	switch order := v.Get("order"); order {
	case "":
	case "asc", "desc":
		q.Descending = order == "desc"
		q.Sort = cmp.Or(q.Sort, "started")
	default:
		return fmt.Errorf("order=%q is neither asc nor desc", order)
	}
	return nil
}

// Window takes sessions one after the other and keeps those that were asked for.
type Window struct {
	query   Query
	before  func(a, b *status.Session) int
	needle  []byte
	text    []byte // of one session, for the search
	total   int
	matched int
	room    int               // how many belong to the window and what is before it; 0: all
	kept    []*status.Session // at most twice the room
	trimmed bool              // the first of kept are sorted, as many as there is room for: only better ones are taken
}

// New makes an empty window.
func New(q Query) *Window {
	compare := orders[cmp.Or(q.Sort, "started")]
	sign := 1
	if q.Descending || q.Sort == "" {
		sign = -1
	}
	w := &Window{query: q, needle: []byte(q.Search)}
	if q.Limit > 0 {
		w.room = q.Offset + q.Limit
	}
	// Sessions of equal rank go by their id, so that windows of the same list fit together.
	w.before = func(a, b *status.Session) int { return cmp.Or(sign*compare(a, b), cmp.Compare(a.ID, b.ID)) }
	return w
}

// Add takes one session. It does not keep s itself.
func (w *Window) Add(s *status.Session) {
	w.total++
	if !w.wants(s) {
		return
	}
	w.matched++
	if w.trimmed && w.before(s, w.kept[w.room-1]) > 0 {
		return
	}
	w.keep(s)
	if w.room > 0 && len(w.kept) == 2*w.room {
		w.sort()
		w.kept, w.trimmed = w.kept[:w.room], true
	}
}

// keep copies s into what a trim has left over, if there is something.
func (w *Window) keep(s *status.Session) {
	if n := len(w.kept); w.trimmed {
		w.kept = w.kept[:n+1]
		*w.kept[n] = *s
		return
	}
	copied := *s
	w.kept = append(w.kept, &copied)
}

func (w *Window) sort() { slices.SortFunc(w.kept, w.before) }

// List is the window over everything added.
func (w *Window) List() status.SessionList {
	w.sort()
	last := len(w.kept)
	if w.room > 0 {
		last = min(last, w.room)
	}
	list := status.SessionList{Total: w.total, Matched: w.matched, Sessions: []status.Session{}}
	for _, s := range w.kept[min(w.query.Offset, last):last] {
		list.Sessions = append(list.Sessions, *s)
	}
	return list
}

func (w *Window) wants(s *status.Session) bool {
	q := &w.query
	return (q.Service == "" || s.Service == q.Service) &&
		(!q.Client.IsValid() || s.Client.Addr() == q.Client) &&
		(q.Search == "" || w.finds(s))
}

// finds writes what can be searched into one buffer that is used again, so that a search makes no garbage.
func (w *Window) finds(s *status.Session) bool {
	t := s.Client.AppendTo(w.text[:0])
	t = s.Edge.AppendTo(append(t, '\n'))
	if s.OriginAddress.IsValid() {
		t = s.OriginAddress.AppendTo(append(t, '\n'))
	}
	t = append(append(t, '\n'), s.Origin...)
	t = append(append(t, '\n'), s.Service...)
	t = appendID(append(t, '\n'), s.ID)
	w.text = lower(t)
	return bytes.Contains(w.text, w.needle)
}

func appendID(to []byte, id status.ID) []byte {
	const digits = "0123456789abcdef"
	for shift := 60; shift >= 0; shift -= 4 {
		to = append(to, digits[uint64(id)>>shift&15])
	}
	return to
}

// lower changes ASCII letters only: names have no others (package settings).
func lower(text []byte) []byte {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			text[i] = c + 'a' - 'A'
		}
	}
	return text
}
