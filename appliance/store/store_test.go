package store

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

func TestCommittedRevisionsReadBackToTheByte(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	want := Revision{Author: "anna", Reason: "a \"reason\"\nof two lines", Time: time.Unix(1000, 5).UTC(), Document: []byte("{\n  \"a\": \"</é>\"\n}\n")}
	got, err := s.Commit(want)
	if err != nil {
		t.Fatal(err)
	}
	want.Number = 1
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Commit returns (-want +got):\n%s", diff)
	}
	for name, read := range map[string]func() (Revision, error){
		"current":   s.Current,
		"by number": func() (Revision, error) { return s.Revision(1) },
		"plain file": func() (Revision, error) {
			record, err := s.readPlain(1)
			r, _ := revisionOf(record)
			return r, err
		},
	} {
		got, err := read()
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: error %v, (-want +got):\n%s", name, err, diff)
		}
	}
}

func TestWhatIsNotThereIsNotFound(t *testing.T) {
	s := open0(t, t.TempDir())
	for name, read := range map[string]func() error{
		"current":      func() error { _, err := s.Current(); return err },
		"revision":     func() error { _, err := s.Revision(7); return err },
		"candidate":    func() error { _, err := s.Candidate(); return err },
		"token":        func() error { return s.DeleteToken("x") },
		"token secret": func() error { _, err := s.Authenticate("x"); return err },
	} {
		if err := read(); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: got %v, want ErrNotFound", name, err)
		}
	}
}

func TestOldRevisionsAreForgottenInBothFormats(t *testing.T) {
	tests := []struct {
		name           string
		size, commits  int
		wantKept       int
		wantOldestKept uint64
	}{
		{"small documents", 100, maxRevisions + 3, maxRevisions, 4},
		{"large documents", 400 << 10, minRevisions + 2, minRevisions, 3},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open0(t, t.TempDir())
			s.files.sync = func(*os.File) error { return nil } // 100 MiB are not what is tested
			s.db.NoSync = true
			for range test.commits {
				if _, err := s.Commit(Revision{Document: make([]byte, test.size)}); err != nil {
					t.Fatal(err)
				}
			}
			list, err := s.Revisions()
			if err != nil {
				t.Fatal(err)
			}
			plain, err := s.plainFiles()
			if err != nil {
				t.Fatal(err)
			}
			if len(list) != test.wantKept || len(plain) != test.wantKept {
				t.Errorf("kept %d revisions and %d plain files, want %d", len(list), len(plain), test.wantKept)
			}
			if got := list[len(list)-1].Number; got != test.wantOldestKept || plain[0] != got {
				t.Errorf("the oldest is %d and its plain file %d, want %d", got, plain[0], test.wantOldestKept)
			}
		})
	}
}

func TestACandidateSurvivesUntilACommit(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	commit(t, s, 1)
	want := Candidate{Base: 1, Author: "anna", Reason: "why", Time: time.Unix(1, 0).UTC(), Deadline: time.Unix(61, 0).UTC(), Document: []byte("{}")}
	if err := s.SetCandidate(want); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open0(t, dir)
	got, err := s.Candidate()
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("after opening again: error %v, (-want +got):\n%s", err, diff)
	}
	commit(t, s, 1)
	if _, err := s.Candidate(); !errors.Is(err, ErrNotFound) {
		t.Errorf("after a commit: got %v, want ErrNotFound", err)
	}
}

func TestTokens(t *testing.T) {
	s := open0(t, t.TempDir())
	_, secret, err := s.CreateToken("ci", time.Unix(9, 0))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Authenticate(secret)
	if want := (Token{"ci", RoleAdmin, time.Unix(9, 0).UTC()}); err != nil || got != want {
		t.Errorf("Authenticate: got %+v, %v, want %+v", got, err, want)
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

func TestASecondProcessIsRefused(t *testing.T) {
	dir := t.TempDir()
	open0(t, dir)
	_, _, err := Open(dir, Options{LockWait: time.Millisecond})
	if !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want ErrInUse", err)
	}
}

func TestANewerStoreIsReadButNotChanged(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	commit(t, s, 2)
	err := s.update(func(tx *bolt.Tx) error {
		return errors.Join(tx.Bucket(bucketMeta).Put(keySchema, []byte("2")), tx.DeleteBucket(bucketTokens))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open0(t, dir)
	if r, err := s.Current(); err != nil || r.Number != 2 {
		t.Errorf("Current: got revision %d, %v, want 2", r.Number, err)
	}
	_, commitErr := s.Commit(Revision{Document: []byte("{}")})
	_, _, tokenErr := s.CreateToken("x", time.Now())
	for name, err := range map[string]error{"Commit": commitErr, "SetCandidate": s.SetCandidate(Candidate{}), "CreateToken": tokenErr} {
		if !errors.Is(err, ErrNewer) {
			t.Errorf("%s: got %v, want ErrNewer", name, err)
		}
	}
	if plain, err := s.plainFiles(); err != nil || len(plain) != 2 {
		t.Errorf("plain files: got %v, %v, want 2", plain, err)
	}
}

// TestTheDrawingShowsTheBuckets compares the tree in the package comment with a store that has everything.
func TestTheDrawingShowsTheBuckets(t *testing.T) {
	s := open0(t, t.TempDir())
	commit(t, s, 1)
	if _, _, err := s.CreateToken("name", time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCandidate(Candidate{Base: 1}); err != nil {
		t.Fatal(err)
	}
	var got []string
	err := s.view(func(tx *bolt.Tx) error {
		return tx.ForEach(func(bucket []byte, b *bolt.Bucket) error {
			return b.ForEach(func(key, value []byte) error {
				if value == nil {
					return fmt.Errorf("bucket %s has a bucket %s inside", bucket, key)
				}
				shown := string(key)
				switch string(bucket) {
				case "revisions":
					shown = "NUMBER"
				case "tokens":
					shown = "NAME"
				}
				got = append(got, string(bucket)+"/"+shown)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"candidate/candidate", "meta/schema", "revisions/NUMBER", "tokens/NAME"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the store holds (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, drawn(t)); diff != "" {
		t.Errorf("the drawing shows (-want +got):\n%s", diff)
	}
}

// drawn reads "bucket/key" pairs from the package comment, ordered as bbolt orders them.
func drawn(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "store.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	byBucket := map[string]string{}
	bucket := ""
	for line := range strings.SplitSeq(file.Doc.Text(), "\n") {
		if m := regexp.MustCompile(`^\s*[├└]── (\w+)$`).FindStringSubmatch(line); m != nil {
			bucket = m[1]
		} else if m := regexp.MustCompile(`^\s*│?\s+└── (\w+) `).FindStringSubmatch(line); m != nil {
			byBucket[bucket] = m[1]
		}
	}
	var pairs []string
	for _, bucket := range []string{"candidate", "meta", "revisions", "tokens"} {
		pairs = append(pairs, bucket+"/"+byBucket[bucket])
	}
	if len(byBucket) != len(pairs) {
		t.Errorf("the drawing has %d buckets, want %d", len(byBucket), len(pairs))
	}
	return pairs
}
