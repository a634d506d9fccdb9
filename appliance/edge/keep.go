package edge

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"breakwater/appliance/whole"
)

// keep writes value into a file of Options.State, whole or not at all.
func (e *Edge) keep(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	if err := whole.Write(filepath.Join(e.options.State, name), data, 0o600); err != nil {
		return fmt.Errorf("keep %s: %w", name, err)
	}
	return nil
}

// prepareState makes the directory of what is kept, and removes what a power cut left: a table of lists may have many megabytes.
func prepareState(o Options) error {
	if err := os.MkdirAll(o.State, 0o700); err != nil {
		return fmt.Errorf("make the state directory: %w", err)
	}
	if err := whole.RemoveUnfinished(o.State); err != nil {
		o.Log.Error("remove unfinished files", "err", err)
	}
	return nil
}

// read takes back what keep wrote. Without the file the error is fs.ErrNotExist.
func (e *Edge) read(name string, into any) error {
	data, err := os.ReadFile(filepath.Join(e.options.State, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
