package store

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"testing"
)

// The tests run this binary again as a writer to be killed and as the child that checks a file.
func TestMain(m *testing.M) {
	switch os.Getenv("STORE_TEST_CHILD") {
	case "writer":
		os.Exit(report(writeForEver(os.Getenv("STORE_TEST_DIR"))))
	case "check":
		os.Exit(report(Check(os.Args[1])))
	}
	// With -race, every child would sleep for a second before it ends.
	if err := os.Setenv("GORACE", "atexit_sleep_ms=0"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

func report(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if _, ok := errors.AsType[*Damage](err); ok {
		return DamageExit
	}
	return 1
}

// writeForEver commits revisions and prints the number of each that was acknowledged.
func writeForEver(dir string) error {
	s, _, err := Open(dir, Options{})
	if err != nil {
		return err
	}
	out := bufio.NewWriter(os.Stdout)
	for {
		n, err := s.newest()
		if err != nil {
			return err
		}
		if err := s.SetCandidate(Candidate{Base: n, Document: documentOf(n + 1)}); err != nil {
			return err
		}
		r, err := s.Commit(Revision{Author: "writer", Document: documentOf(n + 1)})
		if err != nil {
			return err
		}
		fmt.Fprintln(out, r.Number)
		if err := out.Flush(); err != nil {
			return err
		}
	}
}

// documentOf is different for each revision, also in its length.
func documentOf(n uint64) []byte {
	document := fmt.Appendf(nil, "{\"revision\": %d, \"filler\": \"", n)
	for i := range n % 97 * 41 {
		document = append(document, 'a'+byte((n+i)%26))
	}
	return append(document, "\"}\n"...)
}

func open0(t *testing.T, dir string) *Store {
	t.Helper()
	s, report, err := Open(dir, Options{})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	if report.Damaged != "" || len(report.Unusable) > 0 || report.AccountsLost != "" {
		t.Fatalf("Open reports %+v, want nothing damaged", report)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

func commit(t *testing.T, s *Store, count int) {
	t.Helper()
	for range count {
		n, err := s.newest()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Commit(Revision{Author: "test", Document: documentOf(n + 1)}); err != nil {
			t.Fatalf("Commit: %v", err)
		}
	}
}
