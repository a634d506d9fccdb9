// Package store keeps what an operator has decided: revisions of the settings, the candidate that waits for its
// confirmation, bans, secrets, who may get in, and what was done by whom; and the incidents. It is one bbolt file and,
// beside it, a plain file for each revision and one for the accounts:
//
//	s, report, err := store.Open("/var/lib/breakwater", store.Options{})
//	r, err := s.Commit(store.Revision{Author: "local", Reason: "first", Document: document})
//
// What a write method acknowledges with nil is on the disk, in both formats; after any other outcome the old state
// or the new one is there as a whole. The plain files alone are enough to build the bbolt file again, and Open does so
// when bbolt's is damaged; logins, tokens, bans, secrets, incidents, the audit log and a candidate are then lost. One
// process at a time has the directory. The buckets; every value but two of meta is sealed with a checksum:
//
//	breakwater.db
//	├── accounts
//	│   └── NAME        role, password as argon2id, second factors
//	├── audit
//	│   └── NUMBER      8 bytes big endian -> who did what, hash over this entry and the one before
//	├── bans
//	│   └── PREFIX      reason, author, since, until
//	├── candidate
//	│   └── candidate   header line, document
//	├── details
//	│   └── NUMBER      8 bytes big endian -> curve and packets of an incident
//	├── incidents
//	│   └── NUMBER      8 bytes big endian -> an incident without its details
//	├── logins
//	│   └── SHA256      of the cookie's secret -> account, created, last seen
//	├── meta
//	│   ├── accounts    generation of the accounts, decimal
//	│   ├── audit       number and hash of the newest entry and of the last forgotten one
//	│   ├── learned     what is usual on this box, for the search for incidents
//	│   └── schema      version of this tree, decimal
//	├── revisions
//	│   └── NUMBER      8 bytes big endian -> header line, document
//	├── secrets
//	│   └── NAME        secret, author, since
//	└── tokens
//	    └── SHA256      of the secret -> name, role, author, created, expires, networks, last used
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
	"golang.org/x/sys/unix"
)

const (
	// Schema is the version of the bucket tree that this program writes.
	Schema = 3
	// FileName is the bbolt file in the state directory.
	FileName = "breakwater.db"

	// maxSize bounds the bbolt file: minRevisions documents of 1 MiB, twice because bbolt writes copies, and room.
	maxSize = 256 << 20
	// lockWait is how long Open waits for another process that is just ending.
	lockWait = 5 * time.Second
)

// Errors that callers branch on.
var (
	ErrNotFound = errors.New("not found")
	ErrNoSpace  = errors.New("no space left to store this; nothing was changed")
	ErrInUse    = errors.New("another process uses this state directory; is breakwater control running already?")
	ErrNewer    = errors.New("the stored state was written by a newer version of Breakwater, so it can be read but not changed; run the newer version")
)

var (
	bucketMeta      = []byte("meta")
	bucketRevisions = []byte("revisions")
	bucketCandidate = []byte("candidate")
	bucketTokens    = []byte("tokens")
	bucketAccounts  = []byte("accounts") // from here on since schema 2
	bucketLogins    = []byte("logins")
	bucketAudit     = []byte("audit")
	bucketBans      = []byte("bans")
	bucketIncidents = []byte("incidents") // from here on since schema 3
	bucketDetails   = []byte("details")
	bucketSecrets   = []byte("secrets")

	keySchema    = []byte("schema")
	keyAccounts  = []byte("accounts")
	keyAudit     = []byte("audit")
	keyCandidate = []byte("candidate")
	keyLearned   = []byte("learned")
)

// sealedBuckets are those besides meta that a store of this schema has; every record in them is sealed.
func sealedBuckets(schema int) [][]byte {
	list := [][]byte{bucketRevisions, bucketCandidate, bucketTokens}
	if schema >= 2 {
		list = append(list, bucketAccounts, bucketLogins, bucketAudit, bucketBans)
	}
	if schema >= 3 {
		list = append(list, bucketIncidents, bucketDetails, bucketSecrets)
	}
	return list
}

// Options are the choices of Open. The zero value is ready to use.
type Options struct {
	// Check tells whether the bbolt file at path is whole. Nil: Check of this package, in this process. A damaged
	// file can end the process that maps it, so a daemon checks in a child (see CheckBy).
	Check func(path string) error
	// LockWait replaces the 5 s that Open waits for another process. Zero: 5 s.
	LockWait time.Duration
}

// Report is what Open had to do. The zero value: nothing.
type Report struct {
	Damaged      string   // where the damaged bbolt file was moved; empty: it was whole
	Why          string   // what was wrong with it
	Restored     int      // revisions taken from plain files
	Accounts     int      // accounts taken from their plain file
	AccountsLost string   // where the damaged plain file of the accounts was moved, when bbolt had none either; empty: there was no need
	Unusable     []string // plain files that are damaged too
}

// Store is an open state directory. It is safe for concurrent use.
type Store struct {
	dir     string
	db      *bolt.DB
	lock    *os.File // the directory, flocked
	newer   bool     // written by a newer version: no writes
	files   files
	writing sync.Mutex // one writer of the two formats at a time
}

// Open opens the state in dir and makes it when there is none.
func Open(dir string, o Options) (*Store, Report, error) {
	return open(dir, o, osFiles)
}

func open(dir string, o Options, f files) (s *Store, report Report, err error) {
	if o.Check == nil {
		o.Check = Check
	}
	if o.LockWait == 0 {
		o.LockWait = lockWait
	}
	if err := os.MkdirAll(filepath.Join(dir, revisionsDir), 0o700); err != nil {
		return nil, report, fmt.Errorf("make state directory: %w", err)
	}
	s = &Store{dir: dir, files: f}
	defer func() {
		if err != nil {
			_ = s.Close() // the first error is the one to tell
			s = nil
		}
	}()
	if s.lock, err = lockDir(dir, o.LockWait); err != nil {
		return s, report, err
	}
	if err = s.removeTemporary(); err != nil {
		return s, report, err
	}
	if report, err = s.openDatabase(o); err != nil {
		return s, report, err
	}
	return s, report, s.reconcile(&report)
}

// openDatabase opens the bbolt file, new, as it is, or rebuilt.
func (s *Store) openDatabase(o Options) (Report, error) {
	path := filepath.Join(s.dir, FileName)
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		if err := s.create(path); err != nil {
			return Report{}, err
		}
	}
	err := o.Check(path)
	if err == nil {
		s.db, err = openGuarded(path, o.LockWait, false)
	}
	if damage, ok := errors.AsType[*Damage](err); ok {
		return s.replaceDamaged(path, damage, o)
	}
	if err != nil {
		return Report{}, err
	}
	return Report{}, s.readSchema()
}

// create makes the bbolt file under another name first: bbolt can leave a file that it cannot open when the power
// fails while it initialises one (README of bbolt, etcd issue 16596).
func (s *Store) create(path string) error {
	temporary := path + temporarySuffix
	db, err := bolt.Open(temporary, 0o600, &bolt.Options{Timeout: lockWait, MaxSize: maxSize})
	if err != nil {
		return fmt.Errorf("create store: %w", classify(err))
	}
	err = db.Update(func(tx *bolt.Tx) error {
		for _, name := range append(sealedBuckets(Schema), bucketMeta) {
			if _, err := tx.CreateBucketIfNotExists(name); err != nil {
				return err
			}
		}
		return tx.Bucket(bucketMeta).Put(keySchema, []byte(strconv.Itoa(Schema)))
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("create store: %w", classify(err))
	}
	return s.files.publish(temporary, path)
}

// readSchema refuses a tree that this program cannot read, notes one that it must not write and migrates an older one.
func (s *Store) readSchema() error {
	var version int
	err := s.view(func(tx *bolt.Tx) (err error) { version, err = schemaOf(tx); return err })
	if err != nil {
		return err
	}
	s.newer = version > Schema
	if version < Schema {
		return s.migrate(version)
	}
	return nil
}

func schemaOf(tx *bolt.Tx) (int, error) {
	meta := tx.Bucket(bucketMeta)
	if meta == nil {
		return 0, errors.New("this is not a store of Breakwater")
	}
	version, err := strconv.Atoi(string(meta.Get(keySchema)))
	if err != nil {
		return 0, fmt.Errorf("read schema of the store: %w", err)
	}
	return version, nil
}

// Free is how many bytes may be written to the disk of the state directory by others than root.
func (s *Store) Free() (int64, error) {
	var f unix.Statfs_t
	if err := unix.Statfs(s.dir, &f); err != nil {
		return 0, fmt.Errorf("look for room: %w", err)
	}
	return int64(f.Bavail) * f.Bsize, nil
}

// Close releases the directory. Closing again does nothing.
func (s *Store) Close() error {
	var err error
	if s.db != nil {
		err = s.db.Close()
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
		s.lock = nil
	}
	return err
}

// view runs fn in a read transaction. Bytes from tx must be copied before fn returns.
func (s *Store) view(fn func(*bolt.Tx) error) error {
	return guard(func() error { return s.db.View(fn) })
}

// update runs fn in a write transaction and returns nil only after it is on the disk.
func (s *Store) update(fn func(*bolt.Tx) error) error {
	if s.newer {
		return ErrNewer
	}
	return classify(guard(func() error { return s.db.Update(fn) }))
}

// classify gives the ways to run out of space one name.
func classify(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, berrors.ErrMaxSizeReached) {
		return fmt.Errorf("%w (%w)", ErrNoSpace, err)
	}
	return err
}

// lockDir takes the directory for this process. It waits a little for one that is just ending.
func lockDir(dir string, wait time.Duration) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	for deadline := time.Now().Add(wait); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) && time.Now().Before(deadline) {
			continue
		}
		_ = f.Close() // only read
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock state directory: %w", err)
	}
}
