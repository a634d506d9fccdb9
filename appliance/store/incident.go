package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	bolt "go.etcd.io/bbolt"
)

// MaxIncidents is how many are kept.
const MaxIncidents = 500

// Incident is an attack as control records it; the store does not look inside.
type Incident struct {
	Number  uint64 `json:"number"`
	Record  []byte `json:"-"` // what is read for lists
	Details []byte `json:"-"` // what is read for this one alone
}

// PutIncident stores i in place of the one with its number, and forgets the oldest when there are too many.
func (s *Store) PutIncident(i Incident) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.update(func(tx *bolt.Tx) error {
		records, details := tx.Bucket(bucketIncidents), tx.Bucket(bucketDetails)
		err := errors.Join(putSealed(records, i, i.Record), putSealed(details, i, i.Details))
		if err != nil {
			return err
		}
		return errors.Join(forgetOldest(records, MaxIncidents), forgetOldest(details, MaxIncidents))
	})
	if err != nil {
		return fmt.Errorf("write incident %d: %w", i.Number, err)
	}
	return nil
}

func putSealed(b *bolt.Bucket, i Incident, document []byte) error {
	record, err := seal(i, document)
	if err != nil {
		return err
	}
	return b.Put(keyOf(i.Number), record)
}

// forgetOldest removes what is more than most records: one at a time in practice, as each write brings one.
func forgetOldest(b *bolt.Bucket, most int) error {
	var keys [][]byte
	c := b.Cursor()
	for key, _ := c.First(); key != nil; key, _ = c.Next() {
		keys = append(keys, slices.Clone(key))
	}
	for _, key := range keys[:max(0, len(keys)-most)] {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	return nil
}

// Incidents lists all that are kept, the oldest first, without details.
func (s *Store) Incidents() (list []Incident, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		return each(tx.Bucket(bucketIncidents), func(key, record []byte) error {
			document, err := unseal(record, &struct{}{})
			list = append(list, Incident{Number: binary.BigEndian.Uint64(key), Record: bytes.Clone(document)})
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("read incidents: %w", err)
	}
	return list, nil
}

// IncidentDetails are those of one incident; ErrNotFound when it is not kept.
func (s *Store) IncidentDetails(number uint64) (details []byte, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		b := tx.Bucket(bucketDetails)
		if b == nil || b.Get(keyOf(number)) == nil {
			return ErrNotFound
		}
		document, err := unseal(b.Get(keyOf(number)), &struct{}{})
		details = bytes.Clone(document)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read incident %d: %w", number, err)
	}
	return details, nil
}

// each visits the records of a bucket, of which an older schema that is only read may have none.
func each(b *bolt.Bucket, visit func(key, record []byte) error) error {
	if b == nil {
		return nil
	}
	return b.ForEach(visit)
}

// PutLearned stores what is usual on this box, for the search for incidents.
func (s *Store) PutLearned(document []byte) error {
	record, err := seal(struct{}{}, document)
	if err != nil {
		return fmt.Errorf("write what was learned: %w", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.update(func(tx *bolt.Tx) error { return tx.Bucket(bucketMeta).Put(keyLearned, record) }); err != nil {
		return fmt.Errorf("write what was learned: %w", err)
	}
	return nil
}

// Learned is what PutLearned stored last; empty when nothing was, or it is damaged: it is learned again.
func (s *Store) Learned() (document []byte) {
	_ = s.view(func(tx *bolt.Tx) error {
		record := tx.Bucket(bucketMeta).Get(keyLearned)
		if record == nil {
			return nil
		}
		sound, err := unseal(record, &struct{}{})
		document = bytes.Clone(sound)
		return err
	})
	return document
}
