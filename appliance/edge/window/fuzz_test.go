package window

import (
	"net/url"
	"testing"

	"breakwater/appliance/status"
)

// FuzzParse: whatever a query says, it is refused with a sentence or gives a window of what was asked for.
func FuzzParse(f *testing.F) {
	for _, query := range []string{
		"", "limit=3&offset=2", "search=203.0&sort=bytes&order=desc", "client=::ffff:203.0.0.1", "limit=2147483647&offset=2147483647", "search=%00%ff", "sort=&order=asc",
	} {
		f.Add(query)
	}
	list := crowd(40)
	f.Fuzz(func(t *testing.T, query string) {
		v, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		q, err := Parse(v)
		if err != nil {
			if err.Error() == "" {
				t.Error("refused without a word")
			}
			return
		}
		w := New(q)
		for i := range list {
			w.Add(&list[i])
		}
		got := w.List()
		want := max(0, got.Matched-q.Offset)
		if q.Limit > 0 {
			want = min(want, q.Limit)
		}
		if got.Total != len(list) || got.Matched > got.Total || len(got.Sessions) != want {
			t.Errorf("%q: got %d of %d of %d, want %d", query, len(got.Sessions), got.Matched, got.Total, want)
		}
		seen := map[status.ID]bool{}
		for _, s := range got.Sessions {
			if seen[s.ID] {
				t.Errorf("%q: %s is there twice", query, s.ID)
			}
			seen[s.ID] = true
		}
	})
}
