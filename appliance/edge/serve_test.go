package edge

import (
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestSecondEdgeTouchesNothing: whoever starts edge by mistake beside one that serves must not take its listeners and maps.
func TestSecondEdgeTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	socket, state := filepath.Join(dir, "edge.sock"), filepath.Join(dir, "state")
	first, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = first.Close() })
	err = Run(t.Context(), Options{Socket: socket, State: state, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "another edge") {
		t.Errorf("the second ends with %v", err)
	}
	if _, err := os.Stat(state); !os.IsNotExist(err) {
		t.Errorf("it has begun to work: %v", err)
	}
}

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
