package store

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestKilledWriterLosesNothing kills a writing process again and again until it has acknowledged 500 revisions.
func TestKilledWriterLosesNothing(t *testing.T) {
	dir := t.TempDir()
	var acknowledged uint64
	kills := 0
	for ; acknowledged < 500 || kills < 5; kills++ {
		got := writeUntilKilled(t, dir, 30+rand.IntN(120))
		if got < acknowledged {
			t.Fatalf("after %d kills the writer acknowledged %d, before it %d", kills+1, got, acknowledged)
		}
		acknowledged = got
		if err := Check(filepath.Join(dir, FileName)); err != nil {
			t.Fatalf("after %d kills: %v", kills+1, err)
		}
	}
	s := open0(t, dir)
	list, err := s.Revisions()
	if err != nil {
		t.Fatal(err)
	}
	// One more than acknowledged may be there: committed, and killed before it said so.
	if n := list[0].Number; n < acknowledged || n > acknowledged+1 {
		t.Errorf("the newest is %d, acknowledged were %d", n, acknowledged)
	}
	for i, r := range list {
		if want := list[0].Number - uint64(i); r.Number != want {
			t.Fatalf("place %d holds revision %d, want %d", i, r.Number, want)
		}
		assertWhole(t, s, r.Number)
	}
	t.Logf("%d revisions acknowledged over %d kills", acknowledged, kills)
}

// writeUntilKilled runs the writer, kills it after so many acknowledgements, and returns the last of them.
func writeUntilKilled(t *testing.T, dir string, count int) (last uint64) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), "STORE_TEST_CHILD=writer", "STORE_TEST_DIR="+dir)
	var complaint bytes.Buffer
	child.Stderr = &complaint
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	for i := 0; ; i++ {
		line, err := lines.ReadString('\n')
		if err != nil {
			break // killed: what was in the pipe has been read
		}
		if last, err = strconv.ParseUint(strings.TrimSpace(line), 10, 64); err != nil {
			t.Fatal(err)
		}
		if i == count {
			time.AfterFunc(time.Duration(rand.IntN(3000))*time.Microsecond, func() { _ = child.Process.Kill() })
		}
	}
	_, _ = io.Copy(io.Discard, lines)
	_ = child.Wait() // killed
	if complaint.Len() > 0 {
		t.Fatalf("the writer stopped: %s", complaint.String())
	}
	return last
}

func assertWhole(t *testing.T, s *Store, number uint64) {
	t.Helper()
	r, err := s.Revision(number)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := s.readPlain(number)
	if err != nil {
		t.Fatal(err)
	}
	p, _ := revisionOf(plain)
	if want := documentOf(number); !bytes.Equal(r.Document, want) || !bytes.Equal(p.Document, want) {
		t.Fatalf("revision %d is not what was written", number)
	}
}

// TestDamagedFiles: whatever is done to the bbolt file, Open ends without a crash and no revision is lost.
func TestDamagedFiles(t *testing.T) {
	tests := []struct {
		name   string
		damage func(r *rand.Rand, data []byte) []byte
		rounds int
	}{
		{"one byte", func(r *rand.Rand, d []byte) []byte { d[r.IntN(len(d))] ^= byte(1 + r.IntN(255)); return d }, 10},
		{"a hundred bytes", func(r *rand.Rand, d []byte) []byte {
			for range 100 {
				d[r.IntN(len(d))] ^= byte(1 + r.IntN(255))
			}
			return d
		}, 4},
		{"a page header", func(r *rand.Rand, d []byte) []byte {
			page := r.IntN(len(d) / os.Getpagesize())
			d[page*os.Getpagesize()+r.IntN(16)] ^= byte(1 + r.IntN(255))
			return d
		}, 8},
		{"a zeroed page", func(r *rand.Rand, d []byte) []byte {
			page := r.IntN(len(d) / os.Getpagesize())
			clear(d[page*os.Getpagesize():][:os.Getpagesize()])
			return d
		}, 4},
		{"truncated", func(r *rand.Rand, d []byte) []byte { return d[:r.IntN(len(d))] }, 4},
		{"both meta pages", func(_ *rand.Rand, d []byte) []byte { clear(d[:2*os.Getpagesize()]); return d }, 1},
		{"empty", func(*rand.Rand, []byte) []byte { return nil }, 1},
		{"a foreign file", func(*rand.Rand, []byte) []byte { return []byte("# notes\nbuy milk\n") }, 1},
		{"a foreign large file", func(r *rand.Rand, d []byte) []byte {
			for i := range d {
				d[i] = byte(r.Uint32())
			}
			return d
		}, 1},
	}
	original := t.TempDir()
	s := open0(t, original)
	commit(t, s, 40)
	if err := s.UpdateAccess(putOneOfEach); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(original, FileName))
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(1, uint64(len(test.name))))
			for round := range test.rounds * moreRounds {
				assertRestored(t, original, test.damage(r, bytes.Clone(whole)), round)
			}
		})
	}
}

// assertRestored opens a copy of the state directory with data as its bbolt file.
func assertRestored(t *testing.T, original string, data []byte, round int) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), strconv.Itoa(round))
	if err := os.CopyFS(dir, os.DirFS(original)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, FileName), data, 0o600); err != nil {
		t.Fatal(err)
	}
	s, report, err := Open(dir, Options{Check: checkInChild})
	if err != nil {
		t.Fatalf("round %d: Open: %v", round, err)
	}
	for n := uint64(1); n <= 40; n++ {
		assertWhole(t, s, n)
	}
	if names := accountNames(t, s); !slices.Equal(names, []string{"anna"}) {
		t.Errorf("round %d: the accounts are %v, want anna", round, names)
	}
	if _, err := s.Commit(Revision{Document: []byte("{}")}); err != nil {
		t.Errorf("round %d: Commit: %v", round, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("round %d: Close: %v", round, err)
	}
	if report.Damaged == "" {
		return // a byte that nobody reads, or the older meta page
	}
	if report.Why == "" || report.Restored != 40 || report.Accounts != 1 {
		t.Errorf("round %d: report %+v, want a reason, 40 revisions and 1 account restored", round, report)
	}
	if kept, err := os.ReadFile(report.Damaged); err != nil || !bytes.Equal(kept, data) {
		t.Errorf("round %d: the damaged file was not kept as it was (error %v)", round, err)
	}
}

// checkInChild is how control checks, with this binary as the child.
func checkInChild(path string) error {
	return CheckBy(3*time.Second, "/usr/bin/env", "STORE_TEST_CHILD=check", os.Args[0])(path)
}

func TestLosingTheNewestMetaPageLosesNoRevision(t *testing.T) {
	for page := range 2 {
		dir := t.TempDir()
		s := open0(t, dir)
		commit(t, s, 7+page)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, FileName)
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		clear(data[page*os.Getpagesize():][:os.Getpagesize()])
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, _, err = Open(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for n := range uint64(7 + page) {
			assertWhole(t, s, n+1)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestADamagedPlainFileIsWrittenAgain(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	commit(t, s, 3)
	if err := errors.Join(s.Close(), os.WriteFile(s.plainPath(2), []byte("{}"), 0o600), os.Remove(s.plainPath(3))); err != nil {
		t.Fatal(err)
	}
	s = open0(t, dir)
	for n := range uint64(3) {
		assertWhole(t, s, n+1)
	}
}

func TestADamagedPlainFileIsNotAdopted(t *testing.T) {
	dir := t.TempDir()
	s := open0(t, dir)
	commit(t, s, 3)
	if err := errors.Join(s.Close(), os.Remove(filepath.Join(dir, FileName)), os.WriteFile(s.plainPath(2), []byte("{}"), 0o600)); err != nil {
		t.Fatal(err)
	}
	s, report, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if report.Restored != 2 || len(report.Unusable) != 1 || report.Unusable[0] != "000002.json" {
		t.Errorf("report %+v, want 2 restored and 000002.json unusable", report)
	}
	assertWhole(t, s, 1)
	assertWhole(t, s, 3)
}

// TestEachFailingStepLeavesOldOrNew lets each write, fsync and rename of a commit fail in turn.
func TestEachFailingStepLeavesOldOrNew(t *testing.T) {
	for failing := 1; ; failing++ {
		dir := t.TempDir()
		s := open0(t, dir)
		commit(t, s, 1)
		step := 0
		fail := func() error {
			if step++; step == failing {
				return unix.ENOSPC
			}
			return nil
		}
		s.files = files{
			write: func(f *os.File, data []byte) error {
				if err := fail(); err != nil {
					_, _ = f.Write(data[:len(data)/2])
					return err
				}
				return osFiles.write(f, data)
			},
			sync:   func(f *os.File) error { return errors.Join(fail(), osFiles.sync(f)) },
			rename: func(from, to string) error { return cmpOr(fail, func() error { return os.Rename(from, to) }) },
		}
		_, err := s.Commit(Revision{Document: documentOf(2)})
		if step < failing {
			if err != nil {
				t.Fatalf("without a failing step: %v", err)
			}
			if failing < 4 {
				t.Fatalf("a commit has %d steps, want at least write, fsync, rename, fsync", failing-1)
			}
			return
		}
		if !errors.Is(err, ErrNoSpace) || !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("step %d: got %v, want ErrNoSpace", failing, err)
		}
		s.files = osFiles
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		again := open0(t, dir)
		if n, err := again.newest(); n != 1 || err != nil {
			t.Errorf("step %d: the newest is %d, %v, want the old one", failing, n, err)
		}
		commit(t, again, 1)
		assertWhole(t, again, 2)
	}
}

func cmpOr(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// TestWhatSaysNothingAboutTheContentMovesNothing: a file that cannot be checked is not a damaged file.
func TestWhatSaysNothingAboutTheContentMovesNothing(t *testing.T) {
	tests := []struct {
		name  string
		check func(path string) error
	}{
		{"no such command", CheckBy(time.Second, "/nonexistent/check")},
		{"another error", CheckBy(time.Second, "sh", "-c", "echo the disk is busy >&2; exit 1")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			s := open0(t, dir)
			commit(t, s, 1)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			_, report, err := Open(dir, Options{Check: test.check})
			if err == nil || report.Damaged != "" {
				t.Errorf("got %+v, %v, want an error and nothing moved", report, err)
			}
			assertWhole(t, open0(t, dir), 1)
		})
	}
}

func FuzzUnseal(f *testing.F) {
	record, err := seal(Revision{Number: 7, Author: "anna"}, []byte("{}\n"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(record)
	f.Add(record[:len(record)-1])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r Revision
		document, err := unseal(data, &r)
		if err == nil && !bytes.HasSuffix(data, append(bytes.Clone(document), trailer(data[:len(data)-trailerLength])...)) {
			t.Errorf("%q is accepted", data)
		}
	})
}
