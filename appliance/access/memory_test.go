package access

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"breakwater/appliance/store"
)

// becomeNewer restarts the box with a store that a newer version has written. The version is beside its key in a page of
// the file, and pages have no checksum.
func (b *box) becomeNewer(t *testing.T) {
	t.Helper()
	b.stop(t)
	path := filepath.Join(b.dir, store.FileName)
	file, err := os.ReadFile(path)
	must(t, err)
	newer := bytes.ReplaceAll(file, fmt.Append(nil, "schema", store.Schema), fmt.Append(nil, "schema", store.Schema+1))
	if bytes.Equal(file, newer) {
		t.Fatal("the schema is not where it was")
	}
	must(t, os.WriteFile(path, newer, 0o600))
	b.start(t)
	if err := b.Record(Local(), peer(0), "test", "", ""); !errors.Is(err, ErrNewer) {
		t.Fatalf("writing: got %v, want ErrNewer", err)
	}
}

// TestNobodyCouldLogInAfterGoingBackToAnOlderVersion: a login was refused since it could not be stored.
func TestNobodyCouldLogInAfterGoingBackToAnOlderVersion(t *testing.T) {
	b, anna, stored := claimed(t)
	recovery := enableTOTP(t, b, anna)
	b.becomeNewer(t)
	assertLoginsWithoutStore(t, b, anna, stored, recovery[0], ErrNewer)
	b.restart(t)
	if logins, err := b.Logins(); err != nil || len(logins) != 1 || logins[0].ID != anna.LoginID {
		t.Errorf("after a restart: %+v, %v, want what is stored", logins, err)
	}
}

// assertLoginsWithoutStore expects the rules of logins to hold while the store refuses all writes with why. Anna has a
// login that is stored, and a second factor.
func assertLoginsWithoutStore(t *testing.T, b *box, anna Identity, stored, recovery string, why error) {
	t.Helper()
	code := codeAt(t, secretOf(t, b, "anna"), b.clock.Now())
	wrong := func(what string, got, want error) {
		t.Helper()
		if !errors.Is(got, want) || want == nil && got != nil {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
	login := func(n int, password, second string) (Identity, string, error) {
		return b.Login(t.Context(), peer(n), "anna", password, second)
	}
	_, _, err := login(1, otherPassword, code)
	wrong("a wrong password", err, ErrWrong)
	_, _, err = login(2, goodPassword, "")
	wrong("no code", err, ErrSecondFactor)
	_, _, err = login(3, goodPassword, recovery)
	wrong("a recovery code", err, why)
	first, cookie, err := login(4, goodPassword, code)
	must(t, err)
	if got, err := b.ByCookie(cookie, peer(4)); err != nil || got != first || got.Name != "anna" {
		t.Errorf("the cookie is of %+v, %v, want %+v", got, err, first)
	}
	if len(b.memory.logins) != 1 {
		t.Errorf("%d logins in memory, want 1", len(b.memory.logins))
	}
	_, _, err = login(5, goodPassword, code)
	wrong("the same code", err, ErrWrong)

	b.clock.advance(time.Minute)
	code = codeAt(t, secretOf(t, b, "anna"), b.clock.Now())
	proved, err := b.Prove(t.Context(), first, peer(4), goodPassword, code)
	must(t, err)
	_, err = b.ByCookie(cookie, peer(4))
	wrong("the cookie before the proof", err, ErrNotFound)
	if who, err := b.ByCookie(proved, peer(4)); err != nil || !who.Fresh(b.clock.Now()) || who.LoginID != first.LoginID {
		t.Errorf("the cookie after the proof: %+v, %v, want the same login, fresh", who, err)
	}
	b.clock.advance(29 * time.Minute)
	_, err = b.ByCookie(proved, peer(4))
	wrong("29 minutes later", err, nil)
	b.clock.advance(29 * time.Minute)
	_, err = b.ByCookie(proved, peer(4))
	wrong("29 minutes after it was seen", err, nil)
	logins, err := b.Logins()
	if err != nil || len(logins) != 1 || logins[0].ID != first.LoginID || logins[0].LastSeen != b.clock.Now() {
		t.Errorf("the list: %+v, %v, want the one that was used", logins, err)
	}
	wrong("changing the password", b.SetPassword(first, peer(4), "anna", otherPassword), why)

	_, other, err := login(6, goodPassword, codeAt(t, secretOf(t, b, "anna"), b.clock.Now()))
	must(t, err)
	must(t, b.Revoke(Local(), peer(0), first.LoginID))
	_, err = b.ByCookie(proved, peer(4))
	wrong("a login that was revoked", err, ErrNotFound)
	b.clock.advance(31 * time.Minute)
	_, err = b.ByCookie(other, peer(6))
	wrong("a login that was idle", err, ErrNotFound)

	b.clock.advance(-90 * time.Minute) // to where the stored login was last seen
	_, err = b.ByCookie(stored, peer(0))
	wrong("the stored login", err, nil)
	must(t, b.Logout(anna))
	_, err = b.ByCookie(stored, peer(0))
	wrong("the stored login after Logout", err, ErrNotFound)
}

// TestALoginInMemoryIsStoredAtLast keeps a login in memory and touches it when the store takes it.
func TestALoginInMemoryIsStoredAtLast(t *testing.T) {
	b, anna, _ := claimed(t)
	cookie := newSecret()
	var login store.Login
	must(t, b.store.ViewAccess(func(tx *store.AccessTx) error {
		account, err := tx.Account("anna")
		now := b.clock.Now()
		login = store.Login{Sum: store.SumOf(cookie), ID: newID(), Account: account.ID, Epoch: account.Epoch, Created: now, LastSeen: now}
		b.memory.keep(entry{account: account, login: login}, now)
		return err
	}))
	b.clock.advance(2 * time.Minute)
	_, err := b.ByCookie(cookie, peer(0))
	must(t, err)
	if logins, err := b.Logins(); err != nil || len(logins) != 2 || len(b.memory.logins) != 0 {
		t.Errorf("%d logins, %v, and %d in memory, want 2 and none", len(logins), err, len(b.memory.logins))
	}
	must(t, b.Revoke(anna, peer(0), login.ID))
	if _, err := b.ByCookie(cookie, peer(0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("after Revoke: got %v, want ErrNotFound", err)
	}
}

func TestTheLoginsInMemoryAreBounded(t *testing.T) {
	m := newMemory()
	now := time.Unix(1_000_000, 0)
	var sums []store.Sum
	for i := range maxInMemory + 3 {
		seen := now.Add(time.Duration(i) * time.Second)
		sums = append(sums, store.SumOf(newSecret()))
		m.keep(entry{login: store.Login{Sum: sums[i], Created: seen, LastSeen: seen}}, seen)
	}
	gone := slices.DeleteFunc(slices.Clone(sums), func(s store.Sum) bool { _, there := m.logins[s]; return there })
	if len(m.logins) != maxInMemory || !slices.Equal(gone, sums[:3]) {
		t.Errorf("%d logins and %d gone, want %d and the three oldest", len(m.logins), len(gone), maxInMemory)
	}
	m.keep(entry{login: store.Login{Sum: sums[0], Created: now.Add(24 * time.Hour), LastSeen: now.Add(24 * time.Hour)}}, now.Add(24*time.Hour))
	if len(m.logins) != 1 {
		t.Errorf("%d logins a day later, want the new one", len(m.logins))
	}
}
