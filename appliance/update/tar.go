package update

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"strconv"
	"time"
)

const block = 512 // bytes; entries begin at multiples of it (POSIX.1-2024, pax, ustar)

// headerOf is the one header that an entry has. Readers compare with it, so that no field of tar can carry a surprise.
func headerOf(name string, size int64) ([]byte, error) {
	var out bytes.Buffer
	err := tar.NewWriter(&out).WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR})
	if err != nil {
		return nil, fmt.Errorf("write the entry %s: %w", name, err)
	}
	return out.Bytes(), nil
}

// padding is how many zero bytes follow an entry.
func padding(size int64) int64 { return (block - size%block) % block }

// source reads a tar and counts.
type source struct {
	in io.Reader
	at int64 // bytes read
}

// Read reads up to MaxSize bytes in all.
func (s *source) Read(p []byte) (int, error) {
	if s.at >= MaxSize {
		return 0, fault(TooLarge, "the update is larger than %d MiB", MaxSize>>20)
	}
	n, err := s.in.Read(p[:min(int64(len(p)), MaxSize-s.at)])
	s.at += int64(n)
	return n, err
}

// full reads all of p.
func (s *source) full(p []byte) error {
	_, err := io.ReadFull(s, p)
	return s.short(err)
}

// short words the end of a file that should go on.
func (s *source) short(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { //nolint:errorlint // io.ReadFull and io.CopyN return them as they are
		return fault(CutShort, "the update is cut short: it ends after %d bytes", s.at)
	}
	return err
}

// entry reads the header of the entry that must come next, and returns its size, at most most.
func (s *source) entry(name string, most int64) (int64, error) {
	got := make([]byte, block)
	if err := s.full(got); err != nil {
		return 0, err
	}
	size, err := strconv.ParseInt(string(bytes.Trim(got[124:136], " \x00")), 8, 64) // the field size
	if err != nil {
		size = -1
	}
	if size > most {
		return 0, fault(TooLarge, "the update is too large: %s has %d bytes, and at most %d are taken", name, size, most)
	}
	want, err := headerOf(name, max(0, size))
	if err != nil {
		return 0, err
	}
	if !bytes.Equal(got, want) {
		return 0, fault(Damaged, "the update is damaged: %s is not where it should begin", name)
	}
	return size, nil
}

// pad reads the zero bytes behind an entry.
func (s *source) pad(name string, size int64) error {
	rest := make([]byte, padding(size))
	if err := s.full(rest); err != nil {
		return err
	}
	if !zero(rest) {
		return fault(Damaged, "the update is damaged: there is something behind %s", name)
	}
	return nil
}

// small reads an entry into memory.
func (s *source) small(name string, most int64) ([]byte, error) {
	size, err := s.entry(name, most)
	if err != nil {
		return nil, err
	}
	content := make([]byte, size)
	if err := s.full(content); err != nil {
		return nil, err
	}
	return content, s.pad(name, size)
}

// end reads the two zero blocks that end a tar. Behind them there must be nothing.
func (s *source) end() error {
	rest := make([]byte, 2*block)
	if err := s.full(rest); err != nil {
		return err
	}
	n, err := io.ReadFull(s, make([]byte, 1))
	if n > 0 || !zero(rest) {
		return fault(Damaged, "the update is damaged: it goes on behind its end")
	}
	if err != io.EOF { //nolint:errorlint // as in short
		return err
	}
	return nil
}

func zero(content []byte) bool { return len(bytes.Trim(content, "\x00")) == 0 }
