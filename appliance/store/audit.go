package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"time"

	bolt "go.etcd.io/bbolt"
)

// maxAudit is how many entries are kept.
const maxAudit = 10_000

// AuditEntry is one thing that somebody did, or tried to.
type AuditEntry struct {
	Number  uint64     `json:"number"` // from 1, without gaps
	Time    time.Time  `json:"time"`
	Who     string     `json:"who"`
	Role    string     `json:"role"`
	Way     string     `json:"way"`
	Addr    netip.Addr `json:"addr"`
	Action  string     `json:"action"`
	Subject string     `json:"subject"`
	Detail  string     `json:"detail"`
	Hash    string     `json:"hash,omitempty"` // SHA-256 over the hash of the entry before and this entry without it
}

// auditEnds is what the chain hangs on: the last entry that was forgotten, and the newest. Without them, entries could be
// taken from either end unseen.
type auditEnds struct {
	Forgotten auditLink `json:"forgotten"`
	Newest    auditLink `json:"newest"`
}

type auditLink struct {
	Number uint64 `json:"number"`
	Hash   string `json:"hash"`
}

// link computes the hash of an entry that follows the one with hash previous. The JSON of an entry is canonical: the
// fields have an order, times are UTC, and reading and writing it gives the same bytes.
func (e AuditEntry) link(previous string) (string, error) {
	e.Hash = ""
	line, err := json.Marshal(e)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(previous), line...))
	return hex.EncodeToString(sum[:]), nil
}

// Append adds an entry to the audit log and forgets the oldest one when there are too many. Number and Hash are set
// here. There is no way to change or remove an entry.
func (a *AccessTx) Append(e AuditEntry) error {
	ends, err := a.auditEnds()
	if err != nil {
		return err
	}
	e.Number, e.Time = ends.Newest.Number+1, e.Time.UTC().Round(0)
	if e.Hash, err = e.link(ends.Newest.Hash); err != nil {
		return err
	}
	bucket := a.tx.Bucket(bucketAudit)
	if err := write(bucket, keyOf(e.Number), e); err != nil {
		return err
	}
	ends.Newest = auditLink{e.Number, e.Hash}
	if e.Number-ends.Forgotten.Number > maxAudit {
		oldest, err := read[AuditEntry](bucket, keyOf(ends.Forgotten.Number+1))
		if err != nil {
			return fmt.Errorf("read the oldest audit entry: %w", err)
		}
		if err := bucket.Delete(keyOf(oldest.Number)); err != nil {
			return err
		}
		ends.Forgotten = auditLink{oldest.Number, oldest.Hash}
	}
	return write(a.tx.Bucket(bucketMeta), keyAudit, ends)
}

func (a *AccessTx) auditEnds() (auditEnds, error) {
	ends, err := read[auditEnds](a.tx.Bucket(bucketMeta), keyAudit)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return auditEnds{}, fmt.Errorf("read the ends of the audit log: %w", err)
	}
	return ends, nil
}

// Audit lists at most limit entries with numbers below before, the newest first. Before 0: from the newest on.
func (s *Store) Audit(before uint64, limit int) (list []AuditEntry, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketAudit)
		if bucket == nil {
			return nil
		}
		c := bucket.Cursor()
		key, record := c.Last()
		if before > 0 && key != nil && binary.BigEndian.Uint64(key) >= before {
			c.Seek(keyOf(before))
			key, record = c.Prev()
		}
		for ; key != nil && len(list) < limit; key, record = c.Prev() {
			var e AuditEntry
			if _, err := unseal(record, &e); err != nil {
				return fmt.Errorf("entry %d: %w", binary.BigEndian.Uint64(key), err)
			}
			list = append(list, e)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	return list, nil
}

// BrokenChain is an audit log that is not as it was written.
type BrokenChain struct {
	Number uint64 // of the first entry that does not fit
	Why    string
}

func (e *BrokenChain) Error() string {
	return fmt.Sprintf("the audit log was changed at entry %d: %s", e.Number, e.Why)
}

// CheckAudit follows the chain from its oldest entry to its newest. The error is a *BrokenChain where it does not hold.
func (s *Store) CheckAudit() error {
	return s.ViewAccess(func(a *AccessTx) error {
		ends, err := a.auditEnds()
		if err != nil {
			return err
		}
		at := ends.Forgotten
		if bucket := a.tx.Bucket(bucketAudit); bucket != nil {
			err = bucket.ForEach(func(_, record []byte) error { at, err = at.next(record); return err })
		}
		if err != nil {
			return err
		}
		if at != ends.Newest {
			return &BrokenChain{at.Number + 1, "the newest entries are missing"}
		}
		return nil
	})
}

// next checks that record is the entry after at.
func (at auditLink) next(record []byte) (auditLink, error) {
	var e AuditEntry
	if _, err := unseal(record, &e); err != nil {
		return at, &BrokenChain{at.Number + 1, err.Error()}
	}
	if e.Number != at.Number+1 {
		return at, &BrokenChain{at.Number + 1, "it is missing"}
	}
	want, err := e.link(at.Hash)
	if err != nil {
		return at, err
	}
	if e.Hash != want {
		return at, &BrokenChain{e.Number, "its hash does not fit it and the entry before"}
	}
	return auditLink{e.Number, e.Hash}, nil
}
