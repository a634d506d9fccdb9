package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTokens(t *testing.T) {
	s := open0(t, t.TempDir())
	_, secret, err := s.CreateToken("ci", time.Unix(9, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Authenticate(secret)
	want := Token{Sum: SumOf(secret), Name: "ci", Role: RoleAdmin, Created: time.Unix(9, 0).UTC()}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("Authenticate: error %v, (-want +got):\n%s", err, diff)
	}
	if _, _, err := s.CreateToken("ci", time.Now()); !errors.Is(err, ErrTokenExists) {
		t.Errorf("a second token with the same name: got %v, want ErrTokenExists", err)
	}
	if _, _, err := s.CreateToken("../x", time.Now()); !errors.Is(err, ErrTokenName) {
		t.Errorf("a token with the name ../x: got %v, want ErrTokenName", err)
	}
	for _, wrong := range []string{"", secret[:len(secret)-1], secret + "0", strings.ToUpper(secret)} {
		if _, err := s.Authenticate(wrong); !errors.Is(err, ErrNotFound) {
			t.Errorf("Authenticate(%q): got %v, want ErrNotFound", wrong, err)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.dir, FileName))
	if err != nil || strings.Contains(string(data), strings.TrimPrefix(secret, tokenPrefix)) {
		t.Errorf("the file holds the secret itself (error %v)", err)
	}
	if err := s.DeleteToken("ci"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Authenticate(secret); !errors.Is(err, ErrNotFound) {
		t.Errorf("after DeleteToken: got %v, want ErrNotFound", err)
	}
}
