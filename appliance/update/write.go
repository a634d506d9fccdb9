package update

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
)

// Write writes the update that brings boxes to a release. from has the files of image/build's build/image/update, and
// may have others. The same release, files and key give the same bytes.
func Write(out io.Writer, key ed25519.PrivateKey, r Release, from fs.FS) error {
	about, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("write %s: %w", releaseName, err)
	}
	about = append(about, '\n')
	if _, err := readRelease(about); err != nil {
		return fmt.Errorf("release %q: %w", r.Version, err)
	}
	var names []string // in the order of their names, which SHA256SUMS has
	for _, pattern := range []string{"breakwater_%s.efi", "breakwater_%s.root.*.raw", "breakwater_%s.verity.*.raw.gz"} {
		found, err := fs.Glob(from, fmt.Sprintf(pattern, r.Version))
		if err != nil || len(found) != 1 {
			return fmt.Errorf("there are %d files "+pattern+", and there must be one", len(found), r.Version)
		}
		names = append(names, found[0])
	}
	var sums bytes.Buffer
	for _, name := range names {
		sum, err := sumOf(from, name)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, name)
	}
	fmt.Fprintf(&sums, "%x  %s\n", sha256.Sum256(about), releaseName)
	if _, _, err := readSums(sums.Bytes()); err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return writeEntry(out, sumsName, sums.Bytes()) },
		func() error { return writeEntry(out, signatureName, ed25519.Sign(key, sums.Bytes())) },
		func() error { return writeEntry(out, releaseName, about) },
		func() error { return copyEntry(out, from, names[2]) },
		func() error { return copyEntry(out, from, names[1]) },
		func() error { return copyEntry(out, from, names[0]) },
		func() error { return writeZeros(out, 2*block) },
	} {
		if err := step(); err != nil {
			return fmt.Errorf("write the update: %w", err)
		}
	}
	return nil
}

func sumOf(from fs.FS, name string) (sum []byte, err error) {
	f, err := from.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return h.Sum(nil), nil
}

func writeEntry(out io.Writer, name string, content []byte) error {
	return writeFrom(out, name, int64(len(content)), bytes.NewReader(content))
}

func copyEntry(out io.Writer, from fs.FS, name string) error {
	f, err := from.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return writeFrom(out, name, info.Size(), f)
}

func writeFrom(out io.Writer, name string, size int64, content io.Reader) error {
	header, err := headerOf(name, size)
	if err != nil {
		return err
	}
	if _, err := out.Write(header); err != nil {
		return err
	}
	if _, err := io.CopyN(out, content, size); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return writeZeros(out, padding(size))
}

func writeZeros(out io.Writer, n int64) error {
	_, err := out.Write(make([]byte, n))
	return err
}
