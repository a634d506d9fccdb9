package store

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	bolt "go.etcd.io/bbolt"
)

func appendEntries(t *testing.T, s *Store, count int) {
	t.Helper()
	err := s.UpdateAccess(func(a *AccessTx) error {
		for i := range count {
			e := AuditEntry{Time: time.Unix(int64(i), 7), Who: "anna", Role: "admin", Way: "login", Addr: netip.MustParseAddr("192.0.2.1"), Action: "test", Subject: fmt.Sprint(i), Detail: "<é>\n"}
			if err := a.Append(e); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func numbersOf(t *testing.T, s *Store, before uint64, limit int) (numbers []uint64) {
	t.Helper()
	list, err := s.Audit(before, limit)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		numbers = append(numbers, e.Number)
	}
	return numbers
}

func TestTheAuditLogIsReadInPages(t *testing.T) {
	s := open0(t, t.TempDir())
	appendEntries(t, s, 5)
	tests := []struct {
		name   string
		before uint64
		limit  int
		want   []uint64
	}{
		{"newest", 0, 2, []uint64{5, 4}},
		{"next page", 4, 2, []uint64{3, 2}},
		{"last page", 2, 2, []uint64{1}},
		{"behind the end", 1, 2, nil},
		{"before what is not there yet", 99, 9, []uint64{5, 4, 3, 2, 1}},
		{"nothing asked for", 0, 0, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, numbersOf(t, s, test.before, test.limit)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAChangedAuditLogIsFound changes the bucket behind the back of the store.
func TestAChangedAuditLogIsFound(t *testing.T) {
	resealed := func(number uint64, change func(*AuditEntry)) func(*bolt.Bucket) error {
		return func(b *bolt.Bucket) error {
			e, err := read[AuditEntry](b, keyOf(number))
			change(&e)
			return errors.Join(err, write(b, keyOf(number), e))
		}
	}
	tests := []struct {
		name   string
		change func(*bolt.Bucket) error
		want   uint64 // 0: it holds
	}{
		{"untouched", func(*bolt.Bucket) error { return nil }, 0},
		{"another word", resealed(3, func(e *AuditEntry) { e.Who = "bert" }), 3},
		{"another word with its own hash", resealed(3, func(e *AuditEntry) { e.Who = "bert"; e.Hash, _ = e.link("") }), 3},
		{"another hash", resealed(2, func(e *AuditEntry) { e.Hash = "" }), 2},
		{"one missing", func(b *bolt.Bucket) error { return b.Delete(keyOf(4)) }, 4},
		{"the oldest missing", func(b *bolt.Bucket) error { return b.Delete(keyOf(1)) }, 1},
		{"the newest missing", func(b *bolt.Bucket) error { return b.Delete(keyOf(5)) }, 5},
		{"one too many", func(b *bolt.Bucket) error { return write(b, keyOf(6), AuditEntry{Number: 6}) }, 6},
		{"broken seal", func(b *bolt.Bucket) error { return b.Put(keyOf(2), []byte("{}")) }, 2},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := open0(t, t.TempDir())
			appendEntries(t, s, 5)
			if err := s.update(func(tx *bolt.Tx) error { return test.change(tx.Bucket(bucketAudit)) }); err != nil {
				t.Fatal(err)
			}
			err := s.CheckAudit()
			broken, _ := errors.AsType[*BrokenChain](err)
			switch {
			case test.want == 0 && err != nil:
				t.Errorf("got %v, want none", err)
			case test.want != 0 && (broken == nil || broken.Number != test.want):
				t.Errorf("got %v, want a chain broken at %d", err, test.want)
			}
		})
	}
}

func TestTheAuditLogForgetsItsOldestEntries(t *testing.T) {
	s := open0(t, t.TempDir())
	appendEntries(t, s, maxAudit+7)
	appendEntries(t, s, 1)
	if err := s.CheckAudit(); err != nil {
		t.Errorf("the chain of what is left does not hold: %v", err)
	}
	numbers := numbersOf(t, s, 0, 2*maxAudit)
	if len(numbers) != maxAudit || numbers[0] != maxAudit+8 || numbers[maxAudit-1] != 9 {
		t.Errorf("kept %d entries from %d to %d, want %d from 9 on", len(numbers), numbers[len(numbers)-1], numbers[0], maxAudit)
	}
	err := s.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketAudit).Delete(keyOf(9)) })
	if _, broken := errors.AsType[*BrokenChain](s.CheckAudit()); err != nil || !broken {
		t.Errorf("the removal of the oldest entry that is left is not found (error %v)", err)
	}
}
