package update_test

import (
	"archive/tar"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"testing/iotest"

	"breakwater/appliance/update"
)

const newer = "20261129.090833"

var release = update.Release{Version: newer, Schema: 1, Notes: "- What is new.\n"}

// files are those of a very small version.
func files() fstest.MapFS {
	content := func(n int) *fstest.MapFile {
		return &fstest.MapFile{Data: bytes.Repeat([]byte{byte(n), 1, 2}, n)}
	}
	return fstest.MapFS{
		"SHA256SUMS":                   content(9),
		"breakwater_" + newer + ".efi": content(300),
		"breakwater_" + newer + ".root.2c111cb1a5808d45e550fa3ec874bbc1.raw":      content(512),
		"breakwater_" + newer + ".verity.eb02a2b2f7ccd97feab5007704c07d18.raw.gz": content(7),
	}
}

func keys(t testing.TB) (ed25519.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

func written(t testing.TB, key ed25519.PrivateKey, from fs.FS) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := update.Write(&out, key, release, from); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// kept collects the files of an update.
type kept map[string]*bytes.Buffer

type place struct{ *bytes.Buffer }

func (place) Close() error { return nil }

func (k kept) create(name string, _ int64) (io.WriteCloser, error) {
	k[name] = new(bytes.Buffer)
	return place{k[name]}, nil
}

func TestWhatIsWrittenIsRead(t *testing.T) {
	public, private := keys(t)
	from := files()
	whole := written(t, private, from)
	if again := written(t, private, from); !bytes.Equal(whole, again) {
		t.Error("the same release gives another file")
	}
	got := kept{}
	r, err := update.Unpack(iotest.OneByteReader(bytes.NewReader(whole)), public, got.create)
	if err != nil || r != release {
		t.Fatalf("got %+v, %v, want %+v", r, err, release)
	}
	for name, f := range from {
		if content, ok := got[name]; !ok || name != "SHA256SUMS" && !bytes.Equal(content.Bytes(), f.Data) {
			t.Errorf("%s is not what was packed", name)
		}
	}
	if len(got) != 4 {
		t.Errorf("got %d files, want those that systemd-sysupdate reads", len(got))
	}
	head := &counter{in: bytes.NewReader(whole)}
	if r, err := update.Inspect(head, public); err != nil || r != release || head.n > 8<<10 {
		t.Errorf("the head: got %+v, %v after %d bytes", r, err, head.n)
	}
}

type counter struct {
	in io.Reader
	n  int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.n += n
	return n, err
}

// TestOtherToolsReadIt holds the package comment to tar, sha256sum and openssl.
func TestOtherToolsReadIt(t *testing.T) {
	for _, tool := range []string{"tar", "sha256sum", "openssl"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	key, err := update.NewKey(path("update.key"))
	if err == nil {
		err = update.WritePublicKey(path("update.pub"), key)
	}
	if err == nil {
		err = os.WriteFile(path("whole.update"), written(t, key, files()), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"tar xf whole.update", "sha256sum -c SHA256SUMS",
		"openssl pkeyutl -verify -pubin -inkey update.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig"} {
		words := strings.Fields(line)
		command := exec.Command(words[0], words[1:]...)
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	public, err := update.ReadPublicKey(path("update.pub"))
	if err != nil || !public.Equal(key.Public()) {
		t.Errorf("the public key: %v", err)
	}
	if again, err := update.ReadPrivateKey(path("update.key")); err != nil || !again.Equal(key) {
		t.Errorf("the private key: %v", err)
	}
	if _, err := update.NewKey(path("update.key")); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second key: got %v, want that there is one", err)
	}
	if _, err := update.ReadPublicKey(path("update.key")); err == nil {
		t.Error("a private key is taken for a public one")
	}
}

// refused fails the test unless an update is refused for one of the faults.
func refused(t *testing.T, what string, whole []byte, key ed25519.PublicKey, faults ...update.Fault) {
	t.Helper()
	_, err := update.Unpack(bytes.NewReader(whole), key, nil)
	e, ok := errors.AsType[*update.Error](err)
	for _, f := range faults {
		if ok && e.Fault == f && e.Text != "" {
			return
		}
	}
	t.Errorf("%s: got %v, want one of the faults %v", what, err, faults)
}

func TestCutShortAtAnyOffset(t *testing.T) {
	public, private := keys(t)
	whole := written(t, private, files())
	offsets := map[int]bool{}
	for at := 0; at <= len(whole); at += 512 { // every entry begins at one of these
		for _, near := range []int{at - 1, at, at + 1} {
			offsets[near] = true
		}
	}
	for range 20 {
		offsets[rand.IntN(len(whole))] = true //nolint:gosec // any will do
	}
	for at := range offsets {
		switch {
		case at < 0 || at >= len(whole):
		case at == 0:
			refused(t, "nothing", nil, public, update.NotAnUpdate)
		default:
			refused(t, fmt.Sprintf("%d bytes", at), whole[:at], public, update.CutShort)
		}
	}
}

func TestOneFlippedBit(t *testing.T) {
	public, private := keys(t)
	whole := written(t, private, files())
	for at := range whole {
		flipped := bytes.Clone(whole)
		flipped[at] ^= 1 << (at % 8)
		refused(t, fmt.Sprintf("a bit of byte %d", at), flipped, public, update.Damaged, update.BadSignature, update.NotAnUpdate, update.TooLarge)
	}
}

func TestOtherFilesAreRefused(t *testing.T) {
	public, private := keys(t)
	other, _ := keys(t)
	whole := written(t, private, files())
	renamed := files()
	for name, f := range renamed {
		renamed[strings.Replace(name, "breakwater", "seawall", 1)] = f
	}
	tests := []struct {
		name  string
		whole []byte
		key   ed25519.PublicKey
		fault update.Fault
	}{
		{"another key", whole, other, update.BadSignature},
		{"twice", append(bytes.Clone(whole), whole...), public, update.Damaged},
		{"a byte more", append(bytes.Clone(whole), 0), public, update.Damaged},
		{"a picture", []byte("\x89PNG\r\n\x1a\n and so on"), public, update.NotAnUpdate},
		{"an image", make([]byte, 1<<20), public, update.NotAnUpdate},
		{"another product", signed(t, private, sums("seawall"), nil), public, update.NotAnUpdate},
		{"an entry more", signed(t, private, sums("breakwater")+strings.Repeat("0", 64)+"  zeta\n", nil), public, update.NotAnUpdate},
		{"a path", signed(t, private, strings.Replace(sums("breakwater"), "breakwater_", "../breakwater_", 1), nil), public, update.NotAnUpdate},
		{"two versions", signed(t, private, strings.Replace(sums("breakwater"), newer, "20261129.090834", 1), nil), public, update.NotAnUpdate},
		{"another release.json", signed(t, private, sums("breakwater"), []byte("{}")), public, update.Damaged},
		{"a large SHA256SUMS", entries(t, entry{"SHA256SUMS", make([]byte, 5<<10)}), public, update.TooLarge},
		{"a large signature", entries(t, entry{"SHA256SUMS", []byte(sums("breakwater"))}, entry{"SHA256SUMS.sig", make([]byte, 65)}), public, update.TooLarge},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { refused(t, test.name, test.whole, test.key, test.fault) })
	}
	if err := update.Write(io.Discard, private, release, renamed); err != nil {
		t.Errorf("files beside those of the version are in the way: %v", err)
	}
}

// TestTheSumsDecide: what is well signed and in place, and not what was summed up.
func TestTheSumsDecide(t *testing.T) {
	public, private := keys(t)
	about, err := json.Marshal(release)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(sums("breakwater"), strings.Repeat("d", 64), fmt.Sprintf("%x", sha256.Sum256(about)), 1)
	whole := entries(t, entry{"SHA256SUMS", []byte(text)}, entry{"SHA256SUMS.sig", ed25519.Sign(private, []byte(text))}, entry{"release.json", about},
		entry{"breakwater_" + newer + ".verity." + strings.Repeat("1", 32) + ".raw.gz", []byte("other")})
	refused(t, "another verity", whole, public, update.Damaged)
	wrong := bytes.ReplaceAll(about, []byte(newer), []byte("20261129.090834"))
	text = strings.Replace(text, fmt.Sprintf("%x", sha256.Sum256(about)), fmt.Sprintf("%x", sha256.Sum256(wrong)), 1)
	refused(t, "another version inside", signed(t, private, text, wrong), public, update.NotAnUpdate)
}

func sums(product string) string {
	name := product + "_" + newer
	id := strings.Repeat("1", 32)
	return strings.Repeat("a", 64) + "  " + name + ".efi\n" + strings.Repeat("b", 64) + "  " + name + ".root." + id + ".raw\n" +
		strings.Repeat("c", 64) + "  " + name + ".verity." + id + ".raw.gz\n" + strings.Repeat("d", 64) + "  release.json\n"
}

type entry struct {
	name    string
	content []byte
}

// entries is a tar as Write makes it, with whatever entries.
func entries(t testing.TB, list ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range list {
		header := &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Size: int64(len(e.content)), Mode: 0o644, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// signed is the head of an update that is well signed, whatever it says.
func signed(t testing.TB, key ed25519.PrivateKey, text string, about []byte) []byte {
	t.Helper()
	return entries(t, entry{"SHA256SUMS", []byte(text)}, entry{"SHA256SUMS.sig", ed25519.Sign(key, []byte(text))}, entry{"release.json", about})
}

func TestTooLarge(t *testing.T) {
	public, private := keys(t)
	from := files()
	from["breakwater_"+newer+".verity.eb02a2b2f7ccd97feab5007704c07d18.raw.gz"].Data = make([]byte, 16<<20+1)
	refused(t, "verity", written(t, private, from), public, update.TooLarge)
}

// TestADiskThatTakesNothing: an error of create or of its file is told as it is.
func TestADiskThatTakesNothing(t *testing.T) {
	public, private := keys(t)
	whole := written(t, private, files())
	full := errors.New("the disk is full")
	for _, create := range []update.Create{
		func(string, int64) (io.WriteCloser, error) { return nil, full },
		func(string, int64) (io.WriteCloser, error) { return broken{write: full}, nil },
		func(string, int64) (io.WriteCloser, error) { return broken{close: full}, nil },
	} {
		if _, err := update.Unpack(bytes.NewReader(whole), public, create); !errors.Is(err, full) {
			t.Errorf("got %v, want %v", err, full)
		}
	}
	if _, err := update.Unpack(iotest.ErrReader(full), public, nil); !errors.Is(err, full) {
		t.Errorf("reading: got %v, want %v", err, full)
	}
}

type broken struct{ write, close error }

func (b broken) Write(p []byte) (int, error) {
	if b.write != nil {
		return 0, b.write
	}
	return len(p), nil
}

func (b broken) Close() error { return b.close }

func TestAdmit(t *testing.T) {
	tests := []struct {
		name, running string
		schema        int
		want          update.Fault
	}{
		{"newer", "20261129.090832", 1, 0},
		{"the same", newer, 1, update.Same},
		{"older", "20261129.090834", 1, update.Older},
		{"of older settings", "20261129.090832", 2, update.Older},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := release.Admit(test.running, test.schema)
			e, _ := errors.AsType[*update.Error](err)
			if got := faultOf(e); got != test.want {
				t.Errorf("got %v, want the fault %d", err, test.want)
			}
		})
	}
}

func faultOf(e *update.Error) update.Fault {
	if e == nil {
		return 0
	}
	return e.Fault
}

func TestWriteRefusesWhatCannotBeRead(t *testing.T) {
	_, private := keys(t)
	missing, twice := files(), files()
	delete(missing, "breakwater_"+newer+".efi")
	twice["breakwater_"+newer+".root."+strings.Repeat("1", 32)+".raw"] = &fstest.MapFile{}
	tests := []struct {
		name string
		r    update.Release
		from fs.FS
	}{
		{"a word for a version", update.Release{Version: "next", Schema: 1}, files()},
		{"no schema", update.Release{Version: newer}, files()},
		{"long notes", update.Release{Version: newer, Schema: 1, Notes: strings.Repeat("x", update.MaxNotes+1)}, files()},
		{"no kernel", release, missing},
		{"two systems", release, twice},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if err := update.Write(io.Discard, private, test.r, test.from); err == nil {
				t.Error("it was written")
			}
		})
	}
}

// FuzzUnpack reads what strangers send, and what is well signed and makes no sense.
func FuzzUnpack(f *testing.F) {
	private := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)) // the same in every worker
	public, _ := private.Public().(ed25519.PublicKey)
	whole := written(f, private, files())
	f.Add(whole, "", []byte{})
	f.Add([]byte{}, sums("breakwater"), []byte(`{"version":"`+newer+`","schema":1,"notes":""}`))
	f.Fuzz(func(t *testing.T, stranger []byte, text string, about []byte) {
		got := kept{}
		if _, err := update.Unpack(bytes.NewReader(stranger), public, got.create); err == nil && !bytes.Equal(stranger, whole) {
			t.Error("an update was taken that nobody wrote")
		}
		for name := range got {
			if name != filepath.Base(name) || strings.HasPrefix(name, ".") {
				t.Errorf("a file is called %q", name)
			}
		}
		if len(text) > 4<<10 || len(about) > 128<<10 {
			return
		}
		if r, err := update.Inspect(bytes.NewReader(signed(t, private, text, about)), public); err == nil && !update.IsVersion(r.Version) {
			t.Errorf("version %q was taken", r.Version)
		}
	})
}
