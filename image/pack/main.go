// Pack writes the update file of an image, and makes the key that signs it.
//
//	go run ./image/pack keys DIR                    # update.key if there is neither it nor update.pub, then update.pub
//	go run ./image/pack update VERSION DIR OUTPUT   # OUTPUT/update/ to OUTPUT/breakwater_VERSION.update
//
// Without update.key, where somebody else signs, there is no update file.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"breakwater/appliance/settings"
	"breakwater/appliance/update"
)

func main() {
	if err := run(os.Stdout, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "pack:", err)
		os.Exit(1)
	}
}

func run(out io.Writer, args []string) error {
	switch {
	case len(args) == 2 && args[0] == "keys":
		return makeKeys(out, args[1]) //nolint:gosec // G602 does not see the length above
	case len(args) == 4 && args[0] == "update":
		return pack(out, args[1], args[2], args[3]) //nolint:gosec // as above
	}
	return errors.New("usage: pack keys DIR, or pack update VERSION DIR OUTPUT")
}

// makeKeys makes what is missing of the pair, but never a private key beside a public one: that is somebody else's.
func makeKeys(out io.Writer, dir string) error {
	private, public := filepath.Join(dir, "update.key"), filepath.Join(dir, "update.pub")
	if exists(public) {
		return nil
	}
	key, err := update.ReadPrivateKey(private)
	if errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if key, err = update.NewKey(private); err == nil {
			_, err = fmt.Fprintf(out, "Made %s, which signs updates. Keep it safe: boxes of this image take updates with its signature and no others.\n", private)
		}
	}
	if err != nil {
		return err
	}
	return update.WritePublicKey(public, key)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func pack(out io.Writer, version, dir, output string) (err error) {
	key, err := update.ReadPrivateKey(filepath.Join(dir, "update.key"))
	if errors.Is(err, os.ErrNotExist) {
		_, err = fmt.Fprintf(out, "No update file was written: there is no %s to sign it with.\n", filepath.Join(dir, "update.key"))
		return err
	}
	if err != nil {
		return err
	}
	public, err := update.ReadPublicKey(filepath.Join(dir, "update.pub"))
	if err != nil {
		return err
	}
	if !public.Equal(key.Public()) {
		return fmt.Errorf("update.key and update.pub in %s are not a pair: no box with this image would take its updates", dir)
	}
	notes, err := readNotes("CHANGELOG.md")
	if err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(output, "breakwater_"+version+update.Extension))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w := bufio.NewWriterSize(f, 1<<20)
	release := update.Release{Version: version, Schema: settings.Schema, Notes: notes}
	if err := update.Write(w, key, release, os.DirFS(filepath.Join(output, "update"))); err != nil {
		return err
	}
	return w.Flush()
}

// readNotes is the newest section of the changelog, without its heading.
func readNotes(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	_, rest, found := strings.Cut(string(text), "\n## ")
	if !found {
		return "", fmt.Errorf("%s has no section", path)
	}
	_, rest, _ = strings.Cut(rest, "\n")
	section, _, _ := strings.Cut(rest, "\n## ")
	if section = strings.TrimSpace(section); len(section) > update.MaxNotes {
		return "", fmt.Errorf("the newest section of %s has %d bytes; an update has room for %d", path, len(section), update.MaxNotes)
	}
	return section, nil
}
