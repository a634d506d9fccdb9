package store

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
	"golang.org/x/sys/unix"
)

func accountNames(t *testing.T, s *Store) (names []string) {
	t.Helper()
	err := s.ViewAccess(func(a *AccessTx) error {
		accounts, err := a.Accounts()
		for _, account := range accounts {
			names = append(names, account.Name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func putAccounts(t *testing.T, s *Store, names ...string) {
	t.Helper()
	for _, name := range names {
		err := s.UpdateAccess(func(a *AccessTx) error { return a.PutAccount(Account{ID: "id of " + name, Name: name}) })
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestAnUpdateThatFailsChangesNothing(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	putAccounts(t, s, "anna")
	stop := errors.New("stop")
	err := s.UpdateAccess(func(a *AccessTx) error {
		return errors.Join(a.PutAccount(Account{Name: "bert"}), a.DeleteAccount("anna"), a.Append(AuditEntry{}), stop)
	})
	if !errors.Is(err, stop) {
		t.Errorf("got %v, want what the function returned", err)
	}
	if entries, err := s.Audit(0, 10); len(entries) != 0 || err != nil {
		t.Errorf("the audit log has %v (error %v), want nothing", entries, err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if names := accountNames(t, open0(t, dir)); !slices.Equal(names, []string{"anna"}) {
		t.Errorf("the accounts are %v, want anna", names)
	}
}

// TestTheNewerCopyOfTheAccountsWins opens directories whose two copies differ.
func TestTheNewerCopyOfTheAccountsWins(t *testing.T) {
	tests := []struct {
		name    string
		change  func(dir, older string) error // older: the plain file when only anna was there
		want    []string
		lost    bool
		adopted int
	}{
		{"no bbolt file", func(dir, _ string) error { return os.Remove(filepath.Join(dir, FileName)) }, []string{"anna", "bert"}, false, 2},
		{"no plain file", func(dir, _ string) error { return os.Remove(filepath.Join(dir, accountsFile)) }, []string{"anna", "bert"}, false, 0},
		{"an older plain file", func(dir, older string) error {
			return os.WriteFile(filepath.Join(dir, accountsFile), []byte(older), 0o600)
		}, []string{"anna", "bert"}, false, 0},
		{"a damaged plain file", func(dir, older string) error {
			return os.WriteFile(filepath.Join(dir, accountsFile), []byte(older[1:]), 0o600)
		}, []string{"anna", "bert"}, false, 0},
		{"a damaged plain file and no other", func(dir, older string) error {
			return errors.Join(os.Remove(filepath.Join(dir, FileName)), os.WriteFile(filepath.Join(dir, accountsFile), []byte(older[1:]), 0o600))
		}, nil, true, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open0(t, dir)
			putAccounts(t, s, "anna")
			older, err := os.ReadFile(s.accountsPath())
			if err != nil {
				t.Fatal(err)
			}
			putAccounts(t, s, "bert")
			if err := errors.Join(s.Close(), test.change(dir, string(older))); err != nil {
				t.Fatal(err)
			}
			s, report, err := Open(dir, Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if names := accountNames(t, s); !slices.Equal(names, test.want) {
				t.Errorf("the accounts are %v, want %v", names, test.want)
			}
			if report.Accounts != test.adopted || (report.AccountsLost != "") != test.lost {
				t.Errorf("report %+v, want %d accounts adopted, lost: %v", report, test.adopted, test.lost)
			}
			if _, plain, err := s.readAccounts(); err != nil || len(plain) != len(test.want) {
				t.Errorf("the plain file has %v (error %v), want %v", plain, err, test.want)
			}
		})
	}
}

// TestEachFailingStepOfAnAccountLeavesTheOldState lets each step of writing the plain file fail in turn.
func TestEachFailingStepOfAnAccountLeavesTheOldState(t *testing.T) {
	for failing := 1; ; failing++ {
		s := open0(t, t.TempDir())
		putAccounts(t, s, "anna")
		step := 0
		s.files.sync = func(f *os.File) error {
			if step++; step == failing {
				return unix.ENOSPC
			}
			return osFiles.sync(f)
		}
		err := s.UpdateAccess(func(a *AccessTx) error { return a.PutAccount(Account{Name: "bert"}) })
		if step < failing {
			if err != nil || failing < 3 {
				t.Fatalf("%d steps, error %v; want at least an fsync of file and directory", failing-1, err)
			}
			return
		}
		if !errors.Is(err, ErrNoSpace) {
			t.Errorf("step %d: got %v, want ErrNoSpace", failing, err)
		}
		s.files = osFiles
		_, plain, err := s.readAccounts()
		if names := accountNames(t, s); err != nil || len(names) != 1 || len(plain) != 1 {
			t.Errorf("step %d: bbolt has %v, the plain file %v (error %v), want the old one account", failing, names, plain, err)
		}
	}
}

func TestBans(t *testing.T) {
	s := open0(t, t.TempDir())
	want := Ban{netip.MustParsePrefix("192.0.2.0/24"), "scanner", "anna", time.Unix(1, 0).UTC(), time.Unix(2, 0).UTC()}
	unmasked := want
	unmasked.Prefix = netip.MustParsePrefix("192.0.2.7/24")
	if err := errors.Join(s.PutBan(Ban{Prefix: want.Prefix, Reason: "before"}), s.PutBan(unmasked)); err != nil {
		t.Fatal(err)
	}
	got, err := s.Bans()
	if diff := cmp.Diff([]Ban{want}, got, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); err != nil || diff != "" {
		t.Errorf("Bans: error %v, (-want +got):\n%s", err, diff)
	}
	if err := s.DeleteBan(unmasked.Prefix); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Bans(); err != nil || len(got) != 0 {
		t.Errorf("after DeleteBan: got %v, %v, want none", got, err)
	}
}

func TestASecretIsNeverPrinted(t *testing.T) {
	const secret = "swordfish"
	account := Account{Name: "anna", Password: secret, TOTP: &TOTP{Secret: secret}}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb+"\n", account, account.TOTP, account.Password)
	}
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&out, nil), slog.NewTextHandler(&out, nil)} {
		slog.New(handler).Info("x", "account", account, "password", account.Password)
	}
	if strings.Contains(out.String(), secret) || strings.Contains(out.String(), fmt.Sprintf("%x", secret)) {
		t.Errorf("the secret is printed:\n%s", out.String())
	}
	if stored, err := json.Marshal(account); err != nil || !strings.Contains(string(stored), secret) {
		t.Errorf("the secret is not stored: %s (error %v)", stored, err)
	}
}

// TestSchema1IsMigrated opens a store that a program of schema 1 has written.
func TestSchema1IsMigrated(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/schema-1")); err != nil {
		t.Fatal(err)
	}
	for round := range 2 { // the second time there is nothing to migrate
		s := open0(t, dir)
		assertWhole(t, s, 1)
		assertWhole(t, s, 2)
		if c, err := s.Candidate(); err != nil || c.Author != "bert" || !bytes.Equal(c.Document, documentOf(3)) {
			t.Errorf("round %d: the candidate is %+v, %v", round, c, err)
		}
		assertTokens(t, s, filepath.Join(dir, "tokens.txt"))
		if err := s.UpdateAccess(putOneOfEach); round == 0 && err != nil {
			t.Errorf("the new buckets cannot be written: %v", err)
		}
		if err := errors.Join(s.Close(), Check(filepath.Join(dir, FileName))); err != nil {
			t.Fatal(err)
		}
	}
	// What is kept beside it is the store as it was.
	kept := t.TempDir()
	if err := errors.Join(os.CopyFS(kept, os.DirFS(dir)), os.Rename(filepath.Join(kept, FileName+".schema-1"), filepath.Join(kept, FileName))); err != nil {
		t.Fatal(err)
	}
	db, err := openGuarded(filepath.Join(kept, FileName), lockWait, true)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	err = db.View(func(tx *bolt.Tx) error {
		version, err := schemaOf(tx)
		if version != 1 || tx.Bucket(bucketAccounts) != nil {
			t.Errorf("the copy has schema %d and the new buckets", version)
		}
		return errors.Join(err, checkAll(tx))
	})
	if err != nil {
		t.Errorf("the copy: %v", err)
	}
}

// TestSchema2IsMigrated opens a store that a program of schema 2 has written.
func TestSchema2IsMigrated(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/schema-2")); err != nil {
		t.Fatal(err)
	}
	s := open0(t, dir)
	assertWhole(t, s, 2)
	if bans, err := s.Bans(); err != nil || len(bans) != 1 || bans[0].Reason != "flood" {
		t.Errorf("the bans are %+v, %v", bans, err)
	}
	if entries, err := s.Audit(0, 10); err != nil || len(entries) != 1 || s.CheckAudit() != nil {
		t.Errorf("the audit log has %+v, %v", entries, err)
	}
	err := errors.Join(s.PutIncident(Incident{Number: 1, Record: []byte("{}")}), s.PutSecret(NamedSecret{Name: "webhook:a", Secret: "x"}))
	if err != nil {
		t.Errorf("the new buckets cannot be written: %v", err)
	}
	if err := errors.Join(s.Close(), Check(filepath.Join(dir, FileName)), Check(filepath.Join(dir, FileName+".schema-2"))); err != nil {
		t.Error(err)
	}
}

// assertTokens finds each token of the file, "name secret" a line.
func assertTokens(t *testing.T, s *Store, file string) {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		name, secret, _ := strings.Cut(strings.TrimSpace(line), " ")
		err := s.ViewAccess(func(a *AccessTx) error {
			token, err := a.Token(SumOf(secret))
			if token.Name != name || token.Role != "admin" || token.Created.IsZero() {
				t.Errorf("the token %q is %+v", name, token)
			}
			return err
		})
		if err != nil {
			t.Errorf("token %q: %v", name, err)
		}
	}
}

// TestATokenFromBeforeAuthorsIsReadable stores a record as it was written before authors were kept.
func TestATokenFromBeforeAuthorsIsReadable(t *testing.T) {
	s := open0(t, t.TempDir())
	sum := SumOf("secret")
	err := s.update(func(tx *bolt.Tx) error {
		return write(tx.Bucket(bucketTokens), sum[:], map[string]string{"name": "ci", "role": "viewer", "created": "2025-01-01T00:00:00Z"})
	})
	if err != nil {
		t.Fatal(err)
	}
	err = s.ViewAccess(func(tx *AccessTx) error {
		got, err := tx.Token(sum)
		if got.Name != "ci" || got.Author != "" {
			t.Errorf("got %+v, want ci by nobody who is known", got)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
