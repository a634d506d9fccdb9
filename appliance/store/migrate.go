package store

import (
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// migrations lead from one schema to the next; the first one is from schema 1. All that are needed run in one
// transaction, and the file as it was is kept beside the new one for whoever has to go back.
var migrations = []func(*bolt.Tx) error{toSchema2, toSchema3}

// toSchema2 makes room for accounts, logins, the audit log and bans. Tokens get their SHA-256 as key; their records stay,
// so that an older version, which only reads this store, still knows them.
func toSchema2(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketAccounts, bucketLogins, bucketAudit, bucketBans} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	old := map[string][]byte{}
	tokens := tx.Bucket(bucketTokens)
	err := tokens.ForEach(func(key, record []byte) error { old[string(key)] = slices.Clone(record); return nil })
	if err != nil {
		return err
	}
	for name, record := range old {
		var t storedToken
		if _, err := unseal(record, &t); err != nil {
			return fmt.Errorf("token %q: %w", name, err)
		}
		key, err := hex.DecodeString(t.SHA256)
		if err != nil || len(key) != len(Sum{}) {
			return fmt.Errorf("token %q has no SHA-256", name)
		}
		if err := errors.Join(tokens.Delete([]byte(name)), tokens.Put(key, record)); err != nil {
			return err
		}
	}
	return nil
}

// toSchema3 makes room for incidents and secrets.
func toSchema3(tx *bolt.Tx) error {
	for _, name := range [][]byte{bucketIncidents, bucketDetails, bucketSecrets} {
		if _, err := tx.CreateBucketIfNotExists(name); err != nil {
			return err
		}
	}
	return nil
}

// migrate brings a store of an older version to this one.
func (s *Store) migrate(version int) error {
	if version < 1 {
		return fmt.Errorf("schema %d of the store is unknown", version)
	}
	if err := s.keepCopy(version); err != nil {
		return fmt.Errorf("keep the store of schema %d: %w", version, classify(err))
	}
	err := s.update(func(tx *bolt.Tx) error {
		for _, step := range migrations[version-1:] {
			if err := step(tx); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, []byte(strconv.Itoa(Schema)))
	})
	if err != nil {
		return fmt.Errorf("migrate the store from schema %d: %w", version, err)
	}
	return nil
}

// keepCopy writes the file as it is to a second one with its schema in the name.
func (s *Store) keepCopy(version int) error {
	path := filepath.Join(s.dir, fmt.Sprintf("%s.schema-%d", FileName, version))
	temporary := path + temporarySuffix
	if err := s.view(func(tx *bolt.Tx) error { return tx.CopyFile(temporary, 0o600) }); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	f, err := os.OpenFile(temporary, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	if err := errors.Join(s.files.sync(f), f.Close()); err != nil {
		return errors.Join(err, removeIfThere(temporary))
	}
	return s.files.publish(temporary, path)
}
