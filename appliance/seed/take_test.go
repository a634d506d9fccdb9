package seed

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/control/edgetest"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/store"
)

// box is a control with a stand-in for edge, and a clock that the test moves.
type box struct {
	*Taker
	t     *testing.T
	dir   string
	store *store.Store
	edge  *edgetest.Edge
	log   bytes.Buffer
	clock time.Time
}

func newBox(t *testing.T) *box {
	t.Helper()
	b := &box{t: t, dir: t.TempDir(), edge: edgetest.Start(t), clock: time.Now()}
	b.start()
	t.Cleanup(func() { _ = b.store.Close() })
	return b
}

func (b *box) start() {
	b.t.Helper()
	s, report, err := store.Open(b.dir, store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.store = s
	log := slog.New(slog.NewTextHandler(&b.log, nil))
	b.Taker = &Taker{Dir: b.dir, Log: log, Now: func() time.Time { return b.clock }}
	if b.Access, err = access.New(access.Options{Store: s, Log: log}); err != nil {
		b.t.Fatal(err)
	}
	b.Control, err = control.New(control.Options{Store: s, Report: report, Edge: edgelink.New(b.edge.Socket), Log: log})
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *box) crash() {
	b.t.Helper()
	if err := b.store.Close(); err != nil {
		b.t.Fatal(err)
	}
	b.start()
}

func (b *box) hand(data []byte) {
	b.t.Helper()
	if err := Hand(b.dir, Handed{"BREAKWATER", data}); err != nil {
		b.t.Fatal(err)
	}
}

// assert compares the accounts, the current revision and the condition.
func (b *box) assert(accounts string, revision uint64, code, text string) {
	b.t.Helper()
	list, err := b.Access.Accounts()
	if err != nil {
		b.t.Fatal(err)
	}
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.Name
	}
	current, err := b.Control.Current()
	if err != nil && !errors.Is(err, control.ErrNotFound) {
		b.t.Fatal(err)
	}
	if got := strings.Join(names, " "); got != accounts || current.Number != revision {
		b.t.Errorf("accounts %q, revision %d; want %q, %d", got, current.Number, accounts, revision)
	}
	conditions := b.Conditions()
	switch {
	case code == "" && len(conditions) > 0:
		b.t.Errorf("conditions %+v, want none", conditions)
	case code != "" && (len(conditions) != 1 || conditions[0].Code != code || !strings.Contains(conditions[0].Title+": "+conditions[0].Detail, text)):
		b.t.Errorf("conditions %+v, want %s with %q", conditions, code, text)
	}
	for _, secret := range []string{hash, "c2VlZCBmb3IgYSB0ZXN0IQ"} {
		if strings.Contains(b.log.String(), secret) {
			b.t.Errorf("the log shows %q", secret)
		}
	}
}

func (b *box) gone() {
	b.t.Helper()
	if Waits(b.dir) {
		b.t.Error("the seed waits still")
	}
}

func seedOf(pool string) []byte {
	return file(document(pool), account("anna", "admin"), account("ben", "viewer"))
}

func TestASeedIsApplied(t *testing.T) {
	b := newBox(t)
	b.look(t.Context())
	b.assert("", 0, "", "")
	b.hand(seedOf("games"))
	b.look(t.Context())
	b.assert("anna ben", 1, conditionTaken, "Seed: applied from BREAKWATER at ")
	b.gone()
	if p := b.edge.Plan(); p == nil || p.Pools[0].Name != "games" {
		t.Errorf("edge runs %+v", p)
	}
	r, err := b.Control.Revision(1)
	if err != nil || r.Author != "seed" || r.Reason != "seed file on BREAKWATER" {
		t.Errorf("revision %+v, %v", r, err)
	}
	if !b.Access.Claimed() || b.Access.SetupCode() != "" {
		t.Error("the setup code lives")
	}
	entries, err := b.Access.Audit(0, 10)
	if err != nil || len(entries) != 3 || entries[0].Action != "settings-change" || entries[0].Subject != "revision 1" {
		t.Errorf("audit log %+v, %v", entries, err)
	}
	if !Owned(b.dir) {
		t.Error("the helper would take another seed")
	}
	b.clock = b.clock.Add(toldFor + time.Second)
	b.look(t.Context())
	b.assert("anna ben", 1, "", "")
}

// TestASeedIsAppliedOnce: control may crash after each step. What it finds then is made whole, and not made again.
func TestASeedIsAppliedOnce(t *testing.T) {
	t.Run("after the accounts", func(t *testing.T) {
		b := newBox(t)
		b.hand(seedOf("games"))
		b.edge.Stop()
		b.look(t.Context())
		b.assert("anna ben", 0, conditionWaits, "the data plane (breakwater edge) does not answer")
		b.crash()
		b.edge.Restart()
		b.look(t.Context())
		b.assert("anna ben", 1, conditionTaken, "applied from BREAKWATER")
		b.gone()
	})
	t.Run("after the settings", func(t *testing.T) {
		b := newBox(t)
		b.hand(seedOf("games"))
		b.look(t.Context())
		b.crash()
		b.hand(seedOf("games")) // as if it had not been removed
		b.look(t.Context())
		b.assert("anna ben", 1, conditionTaken, "applied from BREAKWATER")
		b.gone()
		entries, err := b.Access.Audit(0, 10)
		if err != nil || len(entries) != 3 {
			t.Errorf("audit log %+v, %v: want 3 entries", entries, err)
		}
	})
}

// TestSettingsThatEdgeRefuses: the box has its owner, who puts it right; the seed does not come back behind that.
func TestSettingsThatEdgeRefuses(t *testing.T) {
	b := newBox(t)
	b.edge.Refuse("no such interface wan0")
	b.hand(seedOf("games"))
	b.look(t.Context())
	b.assert("anna ben", 0, conditionWaits, "no such interface wan0")
	b.edge.Refuse("")
	b.look(t.Context())
	b.assert("anna ben", 0, conditionWaits, "no such interface wan0") // not each second
	b.clock = b.clock.Add(againEvery)
	if _, err := b.Control.Propose(t.Context(), []byte(document("own")), control.Meta{Author: "anna"}); err != nil {
		t.Fatal(err)
	}
	b.look(t.Context())
	b.assert("anna ben", 1, conditionTaken, "Revision 1 came before its settings could be applied, and stays")
	b.gone()
	if r, err := b.Control.Current(); err != nil || r.Author != "anna" {
		t.Errorf("revision %+v, %v", r, err)
	}

	late := newBox(t)
	late.edge.Refuse("no such interface wan0")
	late.hand(seedOf("games"))
	late.look(t.Context())
	late.edge.Refuse("")
	late.clock = late.clock.Add(againEvery)
	late.look(t.Context())
	late.assert("anna ben", 1, conditionTaken, "applied")
}

// TestTheLargestSeed is full of signs that grow in JSON that is made for web pages.
func TestTheLargestSeed(t *testing.T) {
	b := newBox(t)
	data := seedOf("games")
	data = append(data[:len(data)-1], `,"x":"`...)
	data = append(data, strings.Repeat("<", MaxSize-len(data)-2)+`"}`...)
	b.hand(data)
	b.look(t.Context())
	b.assert("", 0, conditionTaken, "x: is no field here") // read to its end
}

func TestASeedForABoxWithAnOwner(t *testing.T) {
	b := newBox(t)
	if err := b.Access.CreateAccount(access.Local(), access.Peer{}, "carl", access.Admin, "plain tulip harbour 9"); err != nil {
		t.Fatal(err)
	}
	b.hand(seedOf("games"))
	b.look(t.Context())
	b.assert("carl", 0, conditionTaken, "This box has got an owner before it")
	b.gone()
}

func TestWhatIsNoSeed(t *testing.T) {
	for name, data := range map[string]string{
		"not JSON":      "{",
		"another shape": `{"from":7}`,
		"no seed":       `{"from":"BREAKWATER","seed":{"schema":1}}`,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBox(t)
			if err := os.WriteFile(filepath.Join(b.dir, handedFile), []byte(data), 0o600); err != nil {
				t.Fatal(err)
			}
			b.look(t.Context())
			b.assert("", 0, conditionTaken, "A seed file was not applied")
			b.gone()
			if b.Access.SetupCode() == "" {
				t.Error("nobody can claim the box")
			}
		})
	}
}

// TestNotice: what the helper tells is shown until it takes it back, and for an hour to an owner.
func TestNotice(t *testing.T) {
	b := newBox(t)
	_, problems := Read([]byte("{}"))
	n := NoticeOf("BREAKWATER", problems)
	n.Time = b.clock
	notify := func(n *Notice) {
		t.Helper()
		if err := Notify(b.dir, n); err != nil {
			t.Fatal(err)
		}
		b.look(t.Context())
	}
	notify(&n)
	b.assert("", 0, conditionNotice, "The seed file on BREAKWATER was not applied: What is wrong: schema: is missing; settings: is missing; accounts: is missing. Nothing was changed")
	notify(nil)
	b.assert("", 0, "", "")
	notify(nil)
	notify(&n)
	b.hand(seedOf("games"))
	b.look(t.Context())
	if codes := b.Conditions(); len(codes) != 2 || !slices.ContainsFunc(codes, func(c health.Condition) bool { return c.Code == conditionNotice }) {
		t.Errorf("conditions %+v", codes)
	}
	b.clock = b.clock.Add(toldFor + time.Second)
	b.look(t.Context())
	b.look(t.Context())
	b.assert("anna ben", 1, "", "")
	if _, err := os.Stat(filepath.Join(b.dir, noticeFile)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the notice is there for ever: %v", err)
	}
}

// TestHandFollowsNoLink: control could put anything into its directory, and root writes there.
func TestHandFollowsNoLink(t *testing.T) {
	dir, elsewhere := t.TempDir(), filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(elsewhere, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{handedFile, handedFile + temporarySuffix} {
		if err := os.Symlink(elsewhere, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := Hand(dir, Handed{"BREAKWATER", seedOf("games")}); err != nil {
		t.Fatal(err)
	}
	if content, err := os.ReadFile(elsewhere); err != nil || string(content) != "precious" {
		t.Errorf("another file is %q now, %v", content, err)
	}
	info, err := os.Lstat(filepath.Join(dir, handedFile))
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm() != 0o600 {
		t.Errorf("handed over: %v, %v", info, err)
	}
	if err := Hand(filepath.Join(dir, "nowhere"), Handed{}); err == nil {
		t.Error("no error without a directory")
	}
}
