package host

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChooseOther(t *testing.T) {
	const whole = "breakwater_7 breakwater_7_verity breakwater_8 breakwater_8_verity"
	tests := []struct {
		name, entries, labels, running string
		want, wrong, after             string
	}{
		{"to the older", "breakwater_7.efi breakwater_8.efi other.efi", whole, "8",
			"7", "", "breakwater_7+3-0.efi breakwater_8+0-0.efi other.efi"},
		{"to the newer that was given up", "breakwater_7.efi breakwater_8+0-3.efi", whole, "7",
			"8", "", "breakwater_7.efi breakwater_8+3-0.efi"},
		{"and back to the newer that was chosen away", "breakwater_7.efi breakwater_8+0-0.efi", whole, "7",
			"8", "", "breakwater_7.efi breakwater_8+3-0.efi"},
		{"twice, as the machine did not start again", "breakwater_7+3-0.efi breakwater_8+0-0.efi", whole, "8",
			"7", "", "breakwater_7+3-0.efi breakwater_8+0-0.efi"},
		{"on trial", "breakwater_7.efi breakwater_8+2-1.efi", whole, "8",
			"", "version 8 is on trial until it is found healthy", "breakwater_7.efi breakwater_8+2-1.efi"},
		{"on trial for the last time", "breakwater_7.efi breakwater_8+0-3.efi", whole, "8",
			"", "version 8 is on trial until it is found healthy", "breakwater_7.efi breakwater_8+0-3.efi"},
		{"a new box", "breakwater_7.efi", "breakwater_7 breakwater_7_verity _empty", "7",
			"", "the other slot is empty until a first update", "breakwater_7.efi"},
		{"an update took its partition", "breakwater_7.efi breakwater_8.efi", "breakwater_7_verity breakwater_8 breakwater_8_verity", "8",
			"", "the other slot is empty until a first update", "breakwater_7.efi breakwater_8.efi"},
		{"started by something else", "breakwater_7.efi", whole, "9",
			"", "version 9, which runs, is not among those that can be started", "breakwater_7.efi"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			entries, labels := filled(t, test.entries), filled(t, test.labels)
			got, err := ChooseOther(entries, labels, test.running)
			if got != test.want {
				t.Errorf("version %q, want %q", got, test.want)
			}
			if test.wrong == "" != (err == nil) || err != nil && !strings.Contains(err.Error(), test.wrong) {
				t.Errorf("error %v, want %q", err, test.wrong)
			}
			if diff := cmp.Diff(test.after, listed(t, entries)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := ChooseOther(filepath.Join(t.TempDir(), "none"), t.TempDir(), "7"); err == nil {
		t.Error("without an ESP: no error")
	}
}

func FuzzParseEntry(f *testing.F) {
	for _, name := range []string{"breakwater_20261122.101010.efi", "breakwater_8+3.efi", "breakwater_8+2-1.efi", "breakwater_8+-1.efi", "breakwater_../x.efi"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		e, ok := parseEntry(name)
		if ok && (strings.ContainsAny(e.version, "/+\x00") || e.version == "" || e.left < 0 || e.done < 0 || e.file != name) {
			t.Errorf("%q became %+v", name, e)
		}
	})
}

// filled is a folder with these files.
func filled(t *testing.T, names string) string {
	t.Helper()
	dir := t.TempDir()
	for name := range strings.FieldsSeq(names) {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func listed(t *testing.T, dir string) string {
	t.Helper()
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Name())
	}
	return strings.Join(names, " ")
}
