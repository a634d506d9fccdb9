// Package whole writes files that are there as a whole or not at all, also when the power fails meanwhile: first under a name that
// nobody looks for, to the disk, then under their own.
//
//	f, err := whole.Create(dir)
//	...
//	defer f.Discard()
//	io.Copy(f, in)
//	err = f.Keep(filepath.Join(dir, "list"))
//
// What a power cut leaves of them, RemoveUnfinished removes at the next start. Errors are those of package os.
package whole

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// ending is that of the name of a file that is being written. A dot and a number are before it.
const ending = ".part"

// File is one that is being written. Only its owner may read it (0600), unless Chmod says otherwise. It is for one goroutine.
type File struct {
	*os.File
	finished, kept bool
}

// Create begins a file, in the directory that it is to be kept in.
func Create(dir string) (*File, error) {
	f, err := os.CreateTemp(dir, ".*"+ending)
	if err != nil {
		return nil, err
	}
	return &File{File: f}, nil
}

// Finish brings what was written to the disk. Nothing can be written after it; the file can be opened by its Name.
func (f *File) Finish() error {
	if f.finished {
		return nil
	}
	f.finished = true
	return errors.Join(f.Sync(), f.Close())
}

// Keep finishes the file and puts it in place of what is at path, which is untouched after an error, but for one that says that
// the disk may not have the name for good.
func (f *File) Keep(path string) error {
	if err := f.Finish(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	f.kept = true
	return SyncDir(filepath.Dir(path)) // fsync(2): that of a file does not cover its entry
}

// KeepCopy is Keep, after which the file can be kept once more, under another name. Both are the same one.
func (f *File) KeepCopy(path string) error {
	if err := f.Finish(); err != nil {
		return err
	}
	name := strings.TrimSuffix(f.Name(), ending) + "-copy" + ending
	if err := os.Link(f.Name(), name); err != nil {
		return err
	}
	if err := os.Rename(name, path); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return SyncDir(filepath.Dir(path))
}

// Discard removes the file, unless it was kept.
func (f *File) Discard() {
	if f.kept {
		return
	}
	_ = f.Finish() // of what is thrown away
	_ = os.Remove(f.Name())
}

// Write makes a file with this content and mode.
func Write(path string, content []byte, mode os.FileMode) error {
	f, err := Create(filepath.Dir(path))
	if err != nil {
		return err
	}
	defer f.Discard()
	_, err = f.Write(content)
	if err := errors.Join(err, f.Chmod(mode)); err != nil {
		return err
	}
	return f.Keep(path)
}

// Remove removes a file for good. One that is not there is removed already.
func Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return SyncDir(filepath.Dir(path))
}

// RemoveUnfinished removes what was not kept in a directory: there may be keys in it, or many megabytes. Nobody may be writing
// there by this package.
func RemoveUnfinished(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if name := e.Name(); strings.HasPrefix(name, ".") && strings.HasSuffix(name, ending) {
			err = errors.Join(err, os.Remove(filepath.Join(dir, name)))
		}
	}
	return err
}

// SyncFS brings all of the file system of a directory to the disk. FAT needs that after a file was renamed: where the bytes of the file
// are is written behind its new name, later.
func SyncFS(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(d.Fd())), d.Close())
}

// SyncDir makes the names in a directory last.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
