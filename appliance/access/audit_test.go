package access

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestTheAuditLogTellsWhoDidWhat(t *testing.T) {
	b, anna, _ := claimed(t)
	must(t, b.Record(anna, peer(3), "ban", "203.0.113.0/24", "scanner\n2026 anna deleted the log"))
	must(t, b.Record(Local(), Peer{}, "settings", strings.Repeat("x", 5000), ""))
	list, err := b.Audit(0, 10)
	must(t, err)
	got := list[1]
	want := AuditEntry{2, b.clock.Now(), "anna", Admin, ByLogin, peer(3).Addr, "ban", "203.0.113.0/24", `scanner\u000a2026 anna deleted the log`, got.Hash}
	if got != want || len(got.Hash) != 64 {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if got := list[0]; got.Who != "local" || got.Way != BySocket || got.Addr.IsValid() || len(got.Subject) > maxDetail+3 {
		t.Errorf("got %+v, want a bounded entry of the socket", got)
	}
	b.restart(t)
	must(t, b.Record(anna, peer(0), "again", "", ""))
	if err := b.AuditCheck(); err != nil {
		t.Errorf("AuditCheck: %v", err)
	}
	if page, err := b.Audit(2, 1); err != nil || len(page) != 1 || page[0].Action != "claim" {
		t.Errorf("the page before 2 is %+v, %v, want the claim", page, err)
	}
}

// TestStrangersCannotFlushTheAuditLog: failures are written at most once a minute and peer, and few for all together.
func TestStrangersCannotFlushTheAuditLog(t *testing.T) {
	b, _, _ := claimed(t)
	for i := range 2000 {
		if _, err := b.ByToken(newTokenSecret(), peer(i)); !errors.Is(err, ErrNotFound) {
			t.Fatal(err)
		}
	}
	if got := len(b.actions(t)); got != 1+failuresAtOnce {
		t.Errorf("%d entries, want the claim and %d failures", got, failuresAtOnce)
	}
	b.clock.advance(time.Hour)
	for range 4 {
		b.clock.advance(20 * time.Second)
		_, _ = b.ByToken(newTokenSecret(), peer(1)) // wrong, and throttled in the end
	}
	if got := len(b.actions(t)); got != 1+failuresAtOnce+2 {
		t.Errorf("%d entries, want two more of one peer in 80 seconds", got)
	}
}

func TestWhatFailsIsNotInTheAuditLog(t *testing.T) {
	b, anna, _ := claimed(t)
	if err := b.SetRole(anna, peer(0), "anna", Viewer); !errors.Is(err, ErrLastAdmin) {
		t.Fatal(err)
	}
	if got := b.actions(t); !slices.Equal(got, []string{"claim"}) {
		t.Errorf("got %v, want the claim only", got)
	}
}
