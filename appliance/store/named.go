package store

import (
	"fmt"
	"time"

	bolt "go.etcd.io/bbolt"
)

// NamedSecret is something secret that settings need and must not have in them, such as the URL of a webhook.
type NamedSecret struct {
	Name   string    `json:"name"`
	Secret Secret    `json:"secret"`
	Author string    `json:"author"`
	Since  time.Time `json:"since"`
}

// Secrets lists the secrets in the order of their names.
func (s *Store) Secrets() (list []NamedSecret, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		list, err = readAll[NamedSecret](tx.Bucket(bucketSecrets), nil)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read secrets: %w", err)
	}
	return list, nil
}

// PutSecret stores a secret in place of any other with its name.
func (s *Store) PutSecret(n NamedSecret) error {
	return s.changeSecret("write", n.Name, func(b *bolt.Bucket, key []byte) error { return write(b, key, n) })
}

// DeleteSecret forgets a secret; ErrNotFound when there is none with this name.
func (s *Store) DeleteSecret(name string) error { return s.changeSecret("delete", name, remove) }

func (s *Store) changeSecret(doing, name string, change func(*bolt.Bucket, []byte) error) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	if err := s.update(func(tx *bolt.Tx) error { return change(tx.Bucket(bucketSecrets), []byte(name)) }); err != nil {
		return fmt.Errorf("%s secret %s: %w", doing, name, err)
	}
	return nil
}
