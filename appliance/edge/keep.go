package edge

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// partMark stands between the name of a file that is being written and a number.
const partMark = ".part-"

// keep writes value into a file of Options.State, whole or not at all.
func (e *Edge) keep(name string, value any) error {
	data, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	file, err := os.CreateTemp(e.options.State, name+partMark+"*")
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

// removeUnfinished removes what a power cut left of files that were being written: a table of lists may have many megabytes.
func (e *Edge) removeUnfinished() error {
	entries, err := os.ReadDir(e.options.State)
	for _, entry := range entries {
		name, number, _ := strings.Cut(entry.Name(), partMark)
		if number == "" || !slices.Contains([]string{PlanFile, goodFile, BansFile, ListsFile}, name) {
			continue
		}
		err = errors.Join(err, os.Remove(filepath.Join(e.options.State, entry.Name())))
	}
	return err
}

// read takes back what keep wrote. Without the file the error is fs.ErrNotExist.
func (e *Edge) read(name string, into any) error {
	data, err := os.ReadFile(filepath.Join(e.options.State, name))
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}
