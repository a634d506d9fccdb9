package store

import (
	"fmt"
	"net/netip"
	"time"

	bolt "go.etcd.io/bbolt"
)

// Ban keeps the clients of a prefix out.
type Ban struct {
	Prefix netip.Prefix `json:"prefix"`
	Reason string       `json:"reason"`
	Author string       `json:"author"`
	Since  time.Time    `json:"since"`
	Until  time.Time    `json:"until,omitzero"` // zero: for ever
}

// Bans lists the bans in the order of their prefixes' text, also those that are over.
func (s *Store) Bans() (list []Ban, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		list, err = readAll[Ban](tx.Bucket(bucketBans), nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read bans: %w", err)
	}
	return list, nil
}

// PutBan stores a ban in place of any other with the same prefix.
func (s *Store) PutBan(b Ban) error {
	b.Prefix = b.Prefix.Masked()
	return s.changeBans("write", b.Prefix, func(bucket *bolt.Bucket, key []byte) error { return write(bucket, key, b) })
}

// DeleteBan forgets the ban of exactly this prefix; ErrNotFound when there is none.
func (s *Store) DeleteBan(prefix netip.Prefix) error {
	return s.changeBans("delete", prefix.Masked(), remove)
}

func (s *Store) changeBans(doing string, prefix netip.Prefix, change func(*bolt.Bucket, []byte) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.update(func(tx *bolt.Tx) error { return change(tx.Bucket(bucketBans), []byte(prefix.String())) })
	if err != nil {
		return fmt.Errorf("%s ban of %s: %w", doing, prefix, err)
	}
	return nil
}
