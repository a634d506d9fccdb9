package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAskFactoryReset(t *testing.T) {
	dir := t.TempDir()
	for _, time := range []string{"the first time", "again"} {
		if err := AskFactoryReset(dir); err != nil {
			t.Fatalf("%s: %v", time, err)
		}
	}
	got, err := os.ReadFile(filepath.Join(dir, "FactoryReset-8cf2644b-4b0b-428f-9387-6d876050dc67"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "\x07\x00\x00\x00y\x00e\x00s\x00\x00\x00"; string(got) != want {
		t.Errorf("the variable is %q, want %q", got, want)
	}
	if err := AskFactoryReset(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "not started by UEFI") {
		t.Errorf("without UEFI: %v", err)
	}
}
