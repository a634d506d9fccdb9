package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	bolt "go.etcd.io/bbolt"
)

const (
	// maxRevisions are kept while they are small, minRevisions always.
	maxRevisions = 200
	minRevisions = 100
	// maxKept bounds the bytes of more than minRevisions.
	maxKept = 32 << 20

	revisionsDir = "revisions"
)

// Revision is one committed settings document.
type Revision struct {
	Number   uint64    `json:"number"` // from 1, without gaps while nothing was lost
	Author   string    `json:"author"`
	Reason   string    `json:"reason"`
	Time     time.Time `json:"time"`
	Document []byte    `json:"-"` // empty in lists
}

// Commit stores the next revision, in both formats, and ends the candidate. r.Number is set by Commit.
func (s *Store) Commit(r Revision) (Revision, error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	if s.newer {
		return Revision{}, ErrNewer
	}
	newest, err := s.newest()
	if err != nil {
		return Revision{}, err
	}
	r.Number = newest + 1
	record, err := seal(r, r.Document)
	if err != nil {
		return Revision{}, fmt.Errorf("write revision: %w", err)
	}
	// The plain file goes first. A crash between the two leaves a file that the next Open adopts; the other order
	// could leave an acknowledged revision with one format only.
	path := s.plainPath(r.Number)
	if err := s.files.replace(path, record); err != nil {
		return Revision{}, errors.Join(fmt.Errorf("write revision: %w", err), removeIfThere(path))
	}
	var forgotten []uint64
	err = s.update(func(tx *bolt.Tx) error {
		if err := tx.Bucket(bucketCandidate).Delete(keyCandidate); err != nil {
			return err
		}
		if err := tx.Bucket(bucketRevisions).Put(keyOf(r.Number), record); err != nil {
			return err
		}
		forgotten, err = prune(tx)
		return err
	})
	if err != nil {
		return Revision{}, errors.Join(fmt.Errorf("write revision: %w", err), removeIfThere(path))
	}
	s.removePlain(forgotten)
	return r, nil
}

// Current is the newest revision; ErrNotFound while there is none.
func (s *Store) Current() (Revision, error) {
	n, err := s.newest()
	if err != nil {
		return Revision{}, err
	}
	return s.Revision(n)
}

// Revision is the revision with this number; ErrNotFound when it never was or is no longer kept.
func (s *Store) Revision(number uint64) (r Revision, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		record := tx.Bucket(bucketRevisions).Get(keyOf(number))
		if record == nil {
			return ErrNotFound
		}
		r, err = revisionOf(record)
		return err
	})
	if err != nil {
		return Revision{}, fmt.Errorf("read revision %d: %w", number, err)
	}
	return r, nil
}

// Revisions lists what is kept, the newest first, without documents.
func (s *Store) Revisions() (list []Revision, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketRevisions).ForEach(func(_, record []byte) error {
			r, err := revisionOf(record)
			r.Document = nil
			list = append(list, r)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("list revisions: %w", err)
	}
	slices.Reverse(list)
	return list, nil
}

// newest is the number of the newest revision, 0 while there is none.
func (s *Store) newest() (n uint64, err error) {
	err = s.view(func(tx *bolt.Tx) error {
		if key, _ := tx.Bucket(bucketRevisions).Cursor().Last(); key != nil {
			n = binary.BigEndian.Uint64(key)
		}
		return nil
	})
	return n, err
}

// prune forgets the oldest revisions and returns their numbers.
func prune(tx *bolt.Tx) (forgotten []uint64, err error) {
	bucket := tx.Bucket(bucketRevisions)
	count, size := 0, 0
	c := bucket.Cursor()
	for key, record := c.Last(); key != nil; key, record = c.Prev() {
		count, size = count+1, size+len(record)
		if count > maxRevisions || count > minRevisions && size > maxKept {
			forgotten = append(forgotten, binary.BigEndian.Uint64(key))
		}
	}
	for _, n := range forgotten {
		if err := bucket.Delete(keyOf(n)); err != nil {
			return nil, err
		}
	}
	return forgotten, nil
}

// removePlain removes the plain files of forgotten revisions. One that cannot be removed costs its bytes until the next
// Open adopts it, forgets it and tries again: no reason to fail what is committed.
func (s *Store) removePlain(numbers []uint64) {
	for _, n := range numbers {
		_ = os.Remove(s.plainPath(n))
	}
}

// plainPath is where the plain file of a revision is.
func (s *Store) plainPath(number uint64) string {
	return filepath.Join(s.dir, revisionsDir, fmt.Sprintf("%06d.json", number))
}

// plainFiles are the numbers of the revisions that have a plain file, in order.
func (s *Store) plainFiles() ([]uint64, error) {
	entries, err := os.ReadDir(filepath.Join(s.dir, revisionsDir))
	if err != nil {
		return nil, fmt.Errorf("list plain files: %w", err)
	}
	var numbers []uint64
	for _, e := range entries {
		stem, isPlain := strings.CutSuffix(e.Name(), ".json")
		if n, err := strconv.ParseUint(stem, 10, 64); isPlain && err == nil && n > 0 {
			numbers = append(numbers, n)
		}
	}
	slices.Sort(numbers)
	return numbers, nil
}

// readPlain reads and checks the plain file of a revision.
func (s *Store) readPlain(number uint64) (record []byte, err error) {
	record, err = os.ReadFile(s.plainPath(number))
	if err != nil {
		return nil, fmt.Errorf("read plain file: %w", err)
	}
	r, err := revisionOf(record)
	if err == nil && r.Number != number {
		err = fmt.Errorf("it holds revision %d", r.Number)
	}
	return record, err
}

func revisionOf(record []byte) (r Revision, err error) {
	document, err := unseal(record, &r)
	r.Document = bytes.Clone(document) // record may be memory of a transaction
	return r, err
}

// keyOf makes keys that bbolt orders as numbers.
func keyOf(number uint64) []byte { return binary.BigEndian.AppendUint64(nil, number) }
