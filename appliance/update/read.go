package update

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Create makes the place of one file of an update. What was written counts only after Unpack has returned nil.
type Create func(name string, size int64) (io.WriteCloser, error)

// Inspect reads no more than the head of an update, a few KiB: enough to say what it is, once its signature was
// verified. The errors are *Error and those of in.
func Inspect(in io.Reader, key ed25519.PublicKey) (Release, error) {
	h, err := readHead(&source{in: in}, key)
	return h.release, err
}

// Unpack reads a whole update and gives its files to create: those that systemd-sysupdate takes, SHA256SUMS last, which
// it begins with. A nil create: the update is only checked.
func Unpack(in io.Reader, key ed25519.PublicKey, create Create) (Release, error) {
	if create == nil {
		create = func(string, int64) (io.WriteCloser, error) { return nowhere{}, nil }
	}
	s := &source{in: in}
	h, err := readHead(s, key)
	if err != nil {
		return Release{}, err
	}
	for _, f := range h.files {
		if err := unpack(s, f, create); err != nil {
			return Release{}, err
		}
	}
	if err := s.end(); err != nil {
		return Release{}, err
	}
	return h.release, store(create, sumsName, h.sums)
}

type nowhere struct{}

func (nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (nowhere) Close() error                { return nil }

// head is what the small entries say.
type head struct {
	release Release
	sums    []byte
	files   []file
}

// file is one of the large entries.
type file struct {
	name string
	sum  []byte
	most int64
}

func readHead(s *source, key ed25519.PublicKey) (head, error) {
	first, err := s.peek()
	if err != nil {
		return head{}, err
	}
	s.in = io.MultiReader(bytes.NewReader(first), s.in)
	sums, err := s.small(sumsName, maxSums)
	if err != nil {
		return head{}, err
	}
	signature, err := s.small(signatureName, ed25519.SignatureSize)
	if err != nil {
		return head{}, err
	}
	if len(key) != ed25519.PublicKeySize || !ed25519.Verify(key, sums, signature) {
		return head{}, fault(BadSignature, "the update is not signed with the key that this box trusts, or it is damaged")
	}
	h := head{sums: sums}
	sumOf, files, err := readSums(sums)
	if err != nil {
		return head{}, err
	}
	h.files = files
	text, err := s.small(releaseName, maxRelease)
	if err != nil {
		return head{}, err
	}
	if sum := sha256.Sum256(text); !bytes.Equal(sum[:], sumOf) {
		return head{}, damaged(releaseName)
	}
	h.release, err = readRelease(text)
	if err == nil && !strings.HasPrefix(files[0].name, "breakwater_"+h.release.Version+".") {
		err = notAnUpdate("it calls itself version " + h.release.Version)
	}
	return h, err
}

// peek reads the name of the first entry: what begins otherwise is something else and not a damaged update.
func (s *source) peek() ([]byte, error) {
	first := make([]byte, len(sumsName))
	n, err := io.ReadFull(s.in, first)
	first = first[:n]
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	if n == 0 || !strings.HasPrefix(sumsName, string(first)) {
		return nil, notAnUpdate("it begins with something else")
	}
	return first, nil
}

func notAnUpdate(why string) error {
	return fault(NotAnUpdate, "this is not an update file of Breakwater: %s", why)
}

func damaged(name string) error {
	return fault(Damaged, "the update is damaged: %s is not what was signed", name)
}

// lines are the four of SHA256SUMS, in the order of their names, all of one version.
var lines = regexp.MustCompile(`^([0-9a-f]{64})  (breakwater_([0-9]{8}\.[0-9]{6})\.efi)
([0-9a-f]{64})  (breakwater_([0-9]{8}\.[0-9]{6})\.root\.[0-9a-f]{32}\.raw)
([0-9a-f]{64})  (breakwater_([0-9]{8}\.[0-9]{6})\.verity\.[0-9a-f]{32}\.raw\.gz)
([0-9a-f]{64})  release\.json
$`)

// readSums returns the sum of release.json, and the other files in the order of the tar.
func readSums(sums []byte) ([]byte, []file, error) {
	m := lines.FindSubmatch(sums)
	if m == nil || !bytes.Equal(m[3], m[6]) || !bytes.Equal(m[3], m[9]) {
		return nil, nil, notAnUpdate("it has other files than one")
	}
	return unhex(m[10]), []file{{string(m[8]), unhex(m[7]), maxVerity}, {string(m[5]), unhex(m[4]), MaxSize}, {string(m[2]), unhex(m[1]), maxEFI}}, nil
}

// unhex decodes what the pattern has let through.
func unhex(text []byte) []byte {
	sum := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(sum, text); err != nil {
		return nil // no sum equals it
	}
	return sum
}

func readRelease(text []byte) (Release, error) {
	var r Release
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&r); err != nil {
		return Release{}, notAnUpdate("its release.json cannot be read: " + err.Error())
	}
	if !IsVersion(r.Version) || r.Schema < 1 || len(r.Notes) > MaxNotes || !utf8.ValidString(r.Notes) {
		return Release{}, notAnUpdate("its release.json makes no sense")
	}
	return r, nil
}

// unpack copies one entry and compares its sum.
func unpack(s *source, f file, create Create) error {
	size, err := s.entry(f.name, f.most)
	if err != nil {
		return err
	}
	out, err := create(f.name, size)
	if err != nil {
		return err
	}
	sum := sha256.New()
	_, err = io.CopyN(io.MultiWriter(out, sum), s, size)
	if err = errors.Join(s.short(err), out.Close()); err != nil {
		return err
	}
	if !bytes.Equal(sum.Sum(nil), f.sum) {
		return damaged(f.name)
	}
	return s.pad(f.name, size)
}

// store writes what is in memory.
func store(create Create, name string, content []byte) error {
	out, err := create(name, int64(len(content)))
	if err != nil {
		return err
	}
	if _, err := out.Write(content); err != nil {
		return errors.Join(fmt.Errorf("write %s: %w", name, err), out.Close())
	}
	return out.Close()
}
