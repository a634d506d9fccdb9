package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	bolt "go.etcd.io/bbolt"
)

// replaceDamaged moves the damaged file aside, for support to look at, and makes a new one; reconcile then fills it from
// the plain files. Logins, tokens and a candidate are lost with the damaged file: nobody gets in by damage, and the
// revision before the candidate is the confirmed one.
func (s *Store) replaceDamaged(path string, damage *Damage, o Options) (Report, error) {
	report := Report{Why: damage.Why, Damaged: freeName(path + ".corrupt-" + time.Now().UTC().Format("20060102T150405Z"))}
	if err := s.files.rename(path, report.Damaged); err != nil {
		return report, fmt.Errorf("move damaged store aside: %w", err)
	}
	if err := s.create(path); err != nil {
		return report, err
	}
	var err error
	if s.db, err = openGuarded(path, o.LockWait, false); err != nil {
		return report, err
	}
	return report, s.readSchema()
}

// freeName adds a number to path when there is such a file already.
func freeName(path string) string {
	name := path
	for i := 2; ; i++ {
		if _, err := os.Lstat(name); errors.Is(err, os.ErrNotExist) {
			return name
		}
		name = fmt.Sprintf("%s-%d", path, i)
	}
}

// reconcile makes the two formats agree again. Plain files that bbolt does not have are adopted: they are from before
// the file was damaged, or from a commit that a crash cut off, or bbolt fell back to the meta page before the last one.
// Records without a plain file get one.
func (s *Store) reconcile(report *Report) error {
	if s.newer {
		return nil
	}
	missing, err := s.adopt(report)
	if err != nil {
		return err
	}
	for number, record := range missing {
		if err := s.files.replace(s.plainPath(number), record); err != nil {
			return fmt.Errorf("write missing plain file: %w", err)
		}
	}
	return errors.Join(s.dropStaleCandidate(), s.reconcileAccounts(report))
}

// adopt takes every sound plain file that bbolt does not have, and returns the records that have no sound plain file.
func (s *Store) adopt(report *Report) (missing map[uint64][]byte, err error) {
	missing = make(map[uint64][]byte)
	list, err := s.Revisions()
	if err != nil {
		return nil, err
	}
	for _, r := range list {
		missing[r.Number] = nil
	}
	numbers, err := s.plainFiles()
	if err != nil {
		return nil, err
	}
	adopted := make(map[uint64][]byte)
	for _, n := range numbers {
		record, err := s.readPlain(n)
		_, known := missing[n]
		switch {
		case err == nil && known:
			delete(missing, n)
		case err == nil:
			adopted[n] = record
		case !known:
			report.Unusable = append(report.Unusable, filepath.Base(s.plainPath(n)))
		}
	}
	report.Restored = len(adopted)
	return missing, s.putAll(adopted, missing)
}

// putAll stores the adopted records and reads the missing ones, in one transaction.
func (s *Store) putAll(adopted, missing map[uint64][]byte) error {
	if len(adopted) == 0 && len(missing) == 0 {
		return nil
	}
	var forgotten []uint64
	err := s.update(func(tx *bolt.Tx) (err error) {
		bucket := tx.Bucket(bucketRevisions)
		for n := range missing {
			missing[n] = append([]byte(nil), bucket.Get(keyOf(n))...)
		}
		for n, record := range adopted {
			if err := bucket.Put(keyOf(n), record); err != nil {
				return err
			}
		}
		forgotten, err = prune(tx)
		return err
	})
	if err != nil {
		return fmt.Errorf("adopt plain files: %w", err)
	}
	s.removePlain(forgotten)
	return nil
}

// dropStaleCandidate forgets a candidate that was made for another revision than the newest: adopting revealed that it,
// or something after it, was committed.
func (s *Store) dropStaleCandidate() error {
	c, err := s.Candidate()
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	newest, err := s.newest()
	if err != nil || c.Base == newest {
		return err
	}
	return s.ClearCandidate()
}
