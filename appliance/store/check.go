package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// Damage says what is wrong with the bbolt file.
type Damage struct{ Why string }

func (d *Damage) Error() string { return d.Why }

// Check tells whether the bbolt file at path is whole: bbolt's own check of all pages, then every record of ours. The
// error is a *Damage when it is not. Some damage ends the process in which bbolt meets it; see CheckBy.
func Check(path string) error {
	db, err := openGuarded(path, lockWait, true)
	if err != nil {
		return err
	}
	err = guard(func() error { return db.View(checkAll) })
	return errors.Join(err, db.Close())
}

// DamageExit is the exit status by which a checking command tells that Check returned a *Damage.
const DamageExit = 3

// CheckBy returns a Check that runs command with the path of the file as last argument. Command should call Check and
// exit with DamageExit for damage and 1 for any other error; what crashes, or takes longer than wait because pages
// point in a circle, has met damage too.
func CheckBy(wait time.Duration, command ...string) func(path string) error {
	return func(path string) error {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		child := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], path)...)
		output, err := child.CombinedOutput()
		var ended *exec.ExitError
		why, _, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
		switch {
		case err == nil, child.ProcessState != nil && child.ProcessState.Success(): // it may end well in the moment that its time is over
			return nil
		case !errors.As(err, &ended):
			return fmt.Errorf("check the store: %w", err)
		case ended.ExitCode() == 1:
			return fmt.Errorf("check the store: %s", why)
		case ended.ExitCode() == DamageExit:
			return &Damage{why}
		}
		return &Damage{fmt.Sprintf("the check of the file ended with %s: %s", ended, why)}
	}
}

// openGuarded opens a bbolt file that may hold anything.
func openGuarded(path string, wait time.Duration, readOnly bool) (db *bolt.DB, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if info.Size() == 0 {
		return nil, &Damage{"the file is empty"} // bbolt would make a new one of it
	}
	err = guard(func() error {
		db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: wait, MaxSize: maxSize, ReadOnly: readOnly, PreLoadFreelist: true})
		return err
	})
	if errors.Is(err, berrors.ErrTimeout) {
		return nil, fmt.Errorf("%s: %w", path, ErrInUse)
	}
	// The operating system's refusals (permission, memory, a read-only disk) say nothing about the content.
	if _, ofSystem := errors.AsType[syscall.Errno](err); ofSystem {
		return nil, fmt.Errorf("open store: %w", err)
	}
	if err != nil {
		return nil, &Damage{err.Error()}
	}
	return db, nil
}

// checkOverflow walks the pages from front to back: a page covers as many behind it as its header says, and none of
// those may be free or behind the end. bbolt's own check looks at the first page only, so the next write would meet
// the rest, and it counts to whatever number stands there.
func checkOverflow(tx *bolt.Tx) error {
	for id := 0; ; id++ {
		page, err := tx.Page(id)
		if err != nil || page == nil { // nil: the end
			return err
		}
		if page.Type == "free" {
			continue
		}
		for range page.OverflowCount {
			id++
			covered, err := tx.Page(id)
			if err != nil {
				return err
			}
			if covered == nil || covered.Type == "free" {
				return &Damage{fmt.Sprintf("page %d says that it covers %d more, and page %d is none of them", page.ID, page.OverflowCount, id)}
			}
		}
	}
}

// checkAll reads everything that there is.
func checkAll(tx *bolt.Tx) error {
	// Pages behind the end of a truncated file fault when they are touched, and bbolt checks in a goroutine of its
	// own that guard does not reach: so the length comes first.
	info, err := os.Stat(tx.DB().Path())
	if err != nil {
		return err
	}
	if info.Size() < tx.Size() {
		return &Damage{fmt.Sprintf("the file has %d bytes and should have %d", info.Size(), tx.Size())}
	}
	if err := checkOverflow(tx); err != nil {
		return err
	}
	var first error
	for err := range tx.Check() {
		if first == nil {
			first = &Damage{err.Error()}
		}
	}
	if first != nil {
		return first
	}
	return checkRecords(tx)
}

// checkRecords opens the seal of every record. A tree of a newer version may look different and is left alone.
func checkRecords(tx *bolt.Tx) error {
	version, err := schemaOf(tx)
	if err != nil {
		return &Damage{err.Error()}
	}
	if version > Schema {
		return nil
	}
	for _, name := range sealedBuckets(version) {
		bucket := tx.Bucket(name)
		if bucket == nil {
			return &Damage{fmt.Sprintf("bucket %s is missing", name)}
		}
		err := bucket.ForEach(func(key, record []byte) error {
			if _, err := unseal(record, new(struct{})); err != nil {
				return &Damage{fmt.Sprintf("record %x of %s: %v", key, name, err)}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// guard turns a panic of bbolt, and a fault in its memory map, into Damage: bbolt panics where a page is not what it
// should be, and a page that the disk cannot read arrives as a signal.
func guard(fn func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = &Damage{fmt.Sprint(r)}
		}
	}()
	return fn()
}
