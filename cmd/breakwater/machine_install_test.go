package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// newESP is a boot partition with files that hold their own names.
func newESP(t *testing.T, files ...string) string {
	t.Helper()
	esp := t.TempDir()
	for _, f := range files {
		path := filepath.Join(esp, f)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return esp
}

// TestBootFiles: only the version that runs goes to the new disk, and nothing that is the stick's own.
func TestBootFiles(t *testing.T) {
	loader := []string{"EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi", "loader/loader.conf"}
	tests := []struct {
		name, want string
		files      []string
	}{
		{"as built", "EFI/Linux/breakwater_7.efi EFI/systemd/systemd-bootx64.efi loader/loader.conf EFI/BOOT/BOOTX64.EFI",
			append([]string{"EFI/Linux/breakwater_7.efi"}, loader...)},
		{"everything", "EFI/Linux/breakwater_7.efi EFI/systemd/systemd-bootx64.efi loader/loader.conf loader/entries.srel loader/keys/auto/db.auth EFI/BOOT/BOOTX64.EFI",
			append([]string{"EFI/Linux/breakwater_7.efi", "EFI/Linux/breakwater_6.efi", "EFI/Linux/breakwater_8+0-3.efi", "loader/random-seed",
				"loader/entries.srel", "loader/keys/auto/db.auth", "breakwater-seed.json", "loader/credentials/x.cred", "EFI/Microsoft/x.efi"}, loader...)},
		{"on trial", "error: version 7 is on trial", append([]string{"EFI/Linux/breakwater_7+2-1.efi"}, loader...)},
		{"another version", "error: find the kernel of version 7", append([]string{"EFI/Linux/breakwater_77.efi"}, loader...)},
		{"no loader", "error: read the boot loader", []string{"EFI/Linux/breakwater_7.efi"}},
		{"nothing for the firmware", "error: read the boot loader: there is no EFI/BOOT/BOOTX64.EFI",
			append([]string{"EFI/Linux/breakwater_7.efi", "EFI/BOOT/other"}, loader[1:]...)},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			files, err := bootFiles(newESP(t, test.files...), "7")
			if wrong, ok := strings.CutPrefix(test.want, "error: "); ok {
				if err == nil || !strings.Contains(err.Error(), wrong) {
					t.Errorf("got %v, want %q", err, wrong)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			to := t.TempDir()
			for _, f := range files {
				got = append(got, f.to)
				if err := copyFile(f.from, filepath.Join(to, f.to)); err != nil {
					t.Fatal(err)
				}
				content, err := os.ReadFile(filepath.Join(to, f.to))
				if err != nil || string(content) != f.to {
					t.Errorf("copy of %s: got %q, %v", f.to, content, err)
				}
			}
			if diff := cmp.Diff(strings.Fields(test.want), got); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMachineInstallAsksFirst: without a request, and on a machine that does not run from a stick, nothing happens; and
// systemd hears why.
func TestMachineInstallAsksFirst(t *testing.T) {
	file := filepath.Join(t.TempDir(), "install.json")
	notified := filepath.Join(t.TempDir(), "notify")
	heard := listenReady(t, notified)
	t.Setenv("NOTIFY_SOCKET", notified)
	attempt := func(want string) {
		t.Helper()
		err := run(t.Context(), &env{stdout: &bytes.Buffer{}, stderr: &bytes.Buffer{}}, []string{"machine", "install", "--request", file})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
		if told := heard(); !strings.HasPrefix(told, "STATUS=") || err != nil && !strings.HasPrefix("STATUS="+err.Error(), told) {
			t.Errorf("systemd heard %q, want that %v", told, err)
		}
	}
	attempt("no such file")
	if err := os.WriteFile(file, []byte(`{"disk":"sda","sequence":1}`), 0o600); err != nil {
		t.Fatal(err)
	}
	attempt("does not run from a USB stick")
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("the request is still there: %v", err)
	}
}

func TestLastLine(t *testing.T) {
	if got, want := lastLine("Wiping.\nNo space\x07 left.\n"), "No space  left"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := lastLine("\n"); got != "" {
		t.Errorf("got %q, want nothing", got)
	}
}
