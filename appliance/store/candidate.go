package store

import (
	"bytes"
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Candidate is a settings document that is applied, or about to be, and not committed yet. There is at most one.
type Candidate struct {
	Base     uint64    `json:"base"` // the revision it replaces
	Author   string    `json:"author"`
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time"`
	Deadline time.Time `json:"deadline"` // reverted then; zero: it was not to wait, so a crash came between
	Document []byte    `json:"-"`
}

// Candidate is the one that is stored; ErrNotFound when there is none.
func (s *Store) Candidate() (c Candidate, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		record := tx.Bucket(bucketCandidate).Get(keyCandidate)
		if record == nil {
			return ErrNotFound
		}
		document, err := unseal(record, &c)
		c.Document = bytes.Clone(document)
		return err
	})
	if err != nil {
		return Candidate{}, fmt.Errorf("read candidate: %w", err)
	}
	return c, nil
}

// SetCandidate stores c in place of any other.
func (s *Store) SetCandidate(c Candidate) error {
	record, err := seal(c, c.Document)
	if err != nil {
		return fmt.Errorf("write candidate: %w", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err = s.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketCandidate).Put(keyCandidate, record) })
	if err != nil {
		return fmt.Errorf("write candidate: %w", err)
	}
	return nil
}

// ClearCandidate forgets the candidate, if there is one.
func (s *Store) ClearCandidate() error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketCandidate).Delete(keyCandidate) })
	if err != nil {
		return fmt.Errorf("forget candidate: %w", err)
	}
	return nil
}
