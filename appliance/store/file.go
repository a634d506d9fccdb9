package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// temporarySuffix marks files that are not finished; Open removes those that a crash left.
const temporarySuffix = ".tmp"

// files are the steps of writing a file so that it is there as a whole or not at all. Tests let single steps fail.
type files struct {
	write  func(f *os.File, data []byte) error
	sync   func(f *os.File) error
	rename func(from, to string) error
}

var osFiles = files{
	write:  func(f *os.File, data []byte) error { _, err := f.Write(data); return err },
	sync:   (*os.File).Sync,
	rename: os.Rename,
}

// replace writes data to path: temporary file, fsync, rename, fsync of the directory. After an error the old file, or
// none, is there.
func (f files) replace(path string, data []byte) error {
	temporary := path + temporarySuffix
	if err := f.writeSynced(temporary, data); err != nil {
		return errors.Join(classify(err), removeIfThere(temporary))
	}
	return f.publish(temporary, path)
}

func (f files) writeSynced(path string, data []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("create %s: %w", path, err)
	}
	err = f.write(file, data)
	if err == nil {
		err = f.sync(file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return nil
}

// publish gives a finished file its name and makes the name durable.
func (f files) publish(temporary, path string) error {
	if err := f.rename(temporary, path); err != nil {
		return errors.Join(fmt.Errorf("name %s: %w", path, classify(err)), removeIfThere(temporary))
	}
	return f.syncDir(filepath.Dir(path))
}

func (f files) syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("sync directory: %w", err)
	}
	err = f.sync(d)
	if err = errors.Join(err, d.Close()); err != nil {
		return fmt.Errorf("sync directory %s: %w", dir, classify(err))
	}
	return nil
}

// removeTemporary clears what writers before a crash left unfinished.
func (s *Store) removeTemporary() error {
	for _, dir := range []string{s.dir, filepath.Join(s.dir, revisionsDir)} {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return fmt.Errorf("read state directory: %w", err)
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), temporarySuffix) {
				if err := removeIfThere(filepath.Join(dir, e.Name())); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func removeIfThere(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("remove unfinished file: %w", err)
	}
	return nil
}
