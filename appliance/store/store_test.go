package store

import (
	"errors"
	"fmt"
	"go/parser"
	"go/token"
	"net/netip"
	"os"
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
		"current":   func() error { _, err := s.Current(); return err },
		"revision":  func() error { _, err := s.Revision(7); return err },
		"candidate": func() error { _, err := s.Candidate(); return err },
		"ban":       func() error { return s.DeleteBan(netip.MustParsePrefix("192.0.2.0/24")) },
		"account":   func() error { return s.ViewAccess(func(a *AccessTx) error { _, err := a.Account("x"); return err }) },
		"login":     func() error { return s.UpdateAccess(func(a *AccessTx) error { return a.DeleteLogin(Sum{}) }) },
		"token":     func() error { return s.UpdateAccess(func(a *AccessTx) error { return a.DeleteToken(Sum{}) }) },
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
		return errors.Join(tx.Bucket(bucketMeta).Put(keySchema, []byte("4")), tx.DeleteBucket(bucketTokens))
	})
	if err := errors.Join(err, s.Close()); err != nil {
		t.Fatal(err)
	}
	s = open0(t, dir)
	if r, err := s.Current(); err != nil || r.Number != 2 {
		t.Errorf("Current: got revision %d, %v, want 2", r.Number, err)
	}
	_, commitErr := s.Commit(Revision{Document: []byte("{}")})
	for name, err := range map[string]error{
		"Commit": commitErr, "SetCandidate": s.SetCandidate(Candidate{}), "PutBan": s.PutBan(Ban{}),
		"PutIncident": s.PutIncident(Incident{}), "PutSecret": s.PutSecret(NamedSecret{}), "PutLearned": s.PutLearned(nil),
		"UpdateAccess": s.UpdateAccess(func(*AccessTx) error { return nil }),
	} {
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
	if err := errors.Join(s.UpdateAccess(putOneOfEach), s.PutBan(Ban{Prefix: netip.MustParsePrefix("192.0.2.0/24")}),
		s.PutIncident(Incident{Number: 1}), s.PutSecret(NamedSecret{Name: "email"}), s.PutLearned([]byte("[]"))); err != nil {
		t.Fatal(err)
	}
	if err := s.SetCandidate(Candidate{Base: 1}); err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{"accounts": "NAME", "audit": "NUMBER", "bans": "PREFIX", "details": "NUMBER", "incidents": "NUMBER", "secrets": "NAME", "logins": "SHA256", "revisions": "NUMBER", "tokens": "SHA256"}
	var got []string
	err := s.view(func(tx *bolt.Tx) error {
		return tx.ForEach(func(bucket []byte, b *bolt.Bucket) error {
			return b.ForEach(func(key, value []byte) error {
				if value == nil {
					return fmt.Errorf("bucket %s has a bucket %s inside", bucket, key)
				}
				shown := string(key)
				if name, drawn := keys[string(bucket)]; drawn {
					shown = name
				}
				got = append(got, string(bucket)+"/"+shown)
				return nil
			})
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(drawn(t), got); diff != "" {
		t.Errorf("the store holds (-drawn +got):\n%s", diff)
	}
}

// drawn reads "bucket/key" pairs from the package comment, which has the order of bbolt.
func drawn(t *testing.T) []string {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "store.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	var pairs []string
	bucket := ""
	for line := range strings.SplitSeq(file.Doc.Text(), "\n") {
		if m := regexp.MustCompile(`^\s*[├└]── (\w+)$`).FindStringSubmatch(line); m != nil {
			bucket = m[1]
		} else if m := regexp.MustCompile(`^\s*│?\s+[├└]── (\w+) `).FindStringSubmatch(line); m != nil {
			pairs = append(pairs, bucket+"/"+m[1])
		}
	}
	return pairs
}

// putOneOfEach puts one record into each bucket of who may get in.
func putOneOfEach(a *AccessTx) error {
	return errors.Join(
		a.PutAccount(Account{ID: "1", Name: "anna", Role: "admin", Password: "$argon2id$…"}),
		a.PutLogin(Login{Sum: SumOf("cookie"), ID: "2", Account: "1"}),
		a.PutToken(Token{Sum: SumOf("secret"), Name: "ci", Role: "viewer"}),
		a.Append(AuditEntry{Who: "anna", Action: "login"}),
	)
}
