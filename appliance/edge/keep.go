package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// keep writes value into a file of Options.State, whole or not at all.
func (e *Edge) keep(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	file, err := os.CreateTemp(e.options.State, name+".*")
	if err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	defer func() { _ = os.Remove(file.Name()) }()
	_, err = file.Write(data)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return os.Rename(file.Name(), filepath.Join(e.options.State, name))
}

// read takes back what keep wrote. Without the file the error is fs.ErrNotExist.
func (e *Edge) read(name string, into any) error {
	data, err := os.ReadFile(filepath.Join(e.options.State, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
