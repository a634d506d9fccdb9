package access

import (
	"context"
	"errors"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"breakwater/appliance/store"
)

func TestJudge(t *testing.T) {
	tests := []struct {
		name, password string
		want           string // a word of the reason; empty: accepted
	}{
		{"words", goodPassword, ""},
		{"random", "k3v9x2m5q8w1", ""},
		{"random digits", "830297551648", ""},
		{"any characters", "ärger um straße 🐈", ""},
		{"longest", strings.Repeat("tulip lantern ", 9) + "ab", ""},
		{"words with a common one", "password of a tulip", ""},
		{"short", "k3v9x2m5q8w", "at least 12"},
		{"short in characters, long in bytes", "äöüäöüäöüäö", "at least 12"},
		{"too long", strings.Repeat("tulip lantern ", 9) + "abc", "at most 128"},
		{"not text", "k3v9x2m5q8w1\xff", "not text"},
		{"one letter", "aaaaaaaaaaaaaa", "repeats"},
		{"two letters", "abababababab", "repeats"},
		{"alphabet", "abcdefghijklm", "sequence"},
		{"digits down", "987654321098", "sequence"},
		{"common", "password1234", "tried first"},
		{"common with signs", "P@ssw0rd!2026!!", "tried first"},
		{"keyboard", "qwertyuiop123456", "tried first"},
		{"product", "Breakwater-Admin-2026", "tried first"},
		{"own name", "anna_anna_anna_2026", "tried first"},
		{"comic", "correct horse battery staple", "tried first"},
		{"empty", "", "at least 12"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := judge(test.password, "anna")
			weak, _ := errors.AsType[*Weak](err)
			switch {
			case test.want == "" && err != nil:
				t.Errorf("got %v, want none", err)
			case test.want != "" && (weak == nil || !strings.Contains(weak.Why, test.want)):
				t.Errorf("got %v, want a Weak with %q", err, test.want)
			}
		})
	}
}

func TestHashes(t *testing.T) {
	h := newHasher(2)
	hash, err := h.hash(t.Context(), h.strangers, "caf\u00e9 tulip harbour")
	must(t, err)
	if !strings.HasPrefix(string(hash), "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("the hash is %s, want argon2id with 19 MiB", string(hash))
	}
	tests := []struct {
		name, password string
		hash           store.Secret
		want           bool
	}{
		{"right", "caf\u00e9 tulip harbour", hash, true},
		{"right in another form of Unicode", "cafe\u0301 tulip harbour", hash, true},
		{"wrong", "caf\u00e9 tulip harbouR", hash, false},
		{"empty password", "", hash, false},
		{"no hash", "caf\u00e9 tulip harbour", "", false},
		{"no hash and no password", "", "", false},
		{"not a hash", "x", "$argon2id$v=19$m=1,t=1$a$b", false},
		{"a hash that asks for 64 GiB", "x", "$argon2id$v=19$m=67108864,t=2,p=1$c2FsdHNhbHRzYWx0$a2V5a2V5a2V5a2V5a2V5a2V5", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got, err := h.fits(t.Context(), h.strangers, test.hash, test.password); got != test.want || err != nil {
				t.Errorf("got %v, %v, want %v", got, err, test.want)
			}
		})
	}
	if again, err := h.hash(t.Context(), h.strangers, "caf\u00e9 tulip harbour"); err != nil || again == hash {
		t.Errorf("the same password has the same hash again (error %v)", err)
	}
}

func TestTheHasherIsBounded(t *testing.T) {
	h := newHasher(1)
	must(t, h.enter(t.Context(), h.strangers))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	for range hashQueue {
		go func() { ended <- h.enter(ctx, h.strangers) }()
	}
	for len(h.strangers) < hashQueue+1 {
		runtime.Gosched()
	}
	if err := h.enter(t.Context(), h.strangers); !isThrottled(err) {
		t.Errorf("beyond the queue: got %v, want Throttled", err)
	}
	cancel()
	for range hashQueue {
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("who went away: got %v, want canceled", err)
		}
	}
	h.leave(h.strangers)
	must(t, h.enter(t.Context(), h.strangers))
	h.leave(h.strangers)
	if len(h.strangers) != 0 || len(h.running) != 0 {
		t.Errorf("%d inside and %d running, want none", len(h.strangers), len(h.running))
	}
}

func FuzzParsePHC(f *testing.F) {
	f.Add("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$a2V5a2V5a2V5a2V5a2V5a2V5")
	f.Add("$argon2id$v=19$m=0,t=0,p=0$$")
	f.Add("$$$$$")
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePHC(text)
		if again, sound := parsePHC(p.String()); ok && (!sound || again.String() != p.String()) {
			t.Errorf("%q is read as %q", text, p)
		}
		if ok && p.memory <= 64 && p.time <= 2 {
			p.compute("x") // must not panic
		}
	})
}

// TestHashingGivesItsMemoryBack: control has 80 MB for everything.
func TestHashingGivesItsMemoryBack(t *testing.T) {
	held := func() uint64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapSys - m.HeapReleased
	}
	debug.FreeOSMemory()
	before := held()
	h := newHasher(1)
	for range 6 {
		_, err := h.hash(t.Context(), h.strangers, goodPassword)
		must(t, err)
		if after := held(); after > before+8<<20 {
			t.Fatalf("%d MiB are held after a hash, %d MiB before", after>>20, before>>20)
		}
	}
}

// TestAFloodOfLoginsKeptOutWhoWasSignedIn takes all the places that strangers can take.
func TestAFloodOfLoginsKeptOutWhoWasSignedIn(t *testing.T) {
	b, anna, _ := claimed(t)
	must(t, b.hasher.enter(t.Context(), b.hasher.strangers))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error)
	for i := range hashQueue {
		go func() {
			_, _, err := b.Login(ctx, peer(i), "anna", goodPassword, "")
			ended <- err
		}()
	}
	for len(b.hasher.strangers) < hashQueue+1 {
		runtime.Gosched()
	}
	if _, _, err := b.Login(t.Context(), peer(100), "anna", goodPassword, ""); !isThrottled(err) {
		t.Errorf("one more stranger: got %v, want Throttled", err)
	}
	changed := make(chan error)
	go func() {
		_, err := b.Prove(t.Context(), anna, peer(0), goodPassword, "")
		changed <- errors.Join(err, b.SetPassword(anna, peer(0), "anna", otherPassword))
	}()
	for len(b.hasher.known) < 1 {
		runtime.Gosched()
	}
	b.hasher.leave(b.hasher.strangers)
	if err := <-changed; err != nil {
		t.Errorf("who is signed in: %v", err)
	}
	for range hashQueue {
		<-ended
	}
}
