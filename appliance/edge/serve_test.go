package edge

import (
	"net/http"
	"net/http/httptest"
	"testing"
)

// TestBadQueriesAreRefused: each with a sentence, and none with a broken connection.
func TestBadQueriesAreRefused(t *testing.T) {
	for _, query := range []string{"limit=-1", "limit=x", "limit=", "limit=99999999999999999999", "client=x", "client="} {
		t.Run(query, func(t *testing.T) {
			w := httptest.NewRecorder()
			(&Edge{}).getSessions(w, httptest.NewRequest(http.MethodGet, "/sessions?"+query, nil))
			if w.Code != http.StatusBadRequest || w.Body.Len() == 0 {
				t.Errorf("answer %d %q", w.Code, w.Body)
			}
		})
	}
}
