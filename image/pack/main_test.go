package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/appliance/settings"
	"breakwater/appliance/update"
)

const version = "20261129.090833"

// TestPack: keys are made once, kept, and sign the update; without the private one there is none.
func TestPack(t *testing.T) {
	dir := t.TempDir()
	keys, output := filepath.Join(dir, "keys"), filepath.Join(dir, "image")
	t.Chdir("../..") // where image/build runs it
	if err := os.MkdirAll(filepath.Join(output, "update"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".efi", ".root." + strings.Repeat("1", 32) + ".raw", ".verity." + strings.Repeat("2", 32) + ".raw.gz"} {
		write(t, filepath.Join(output, "update", "breakwater_"+version+name), name)
	}
	want := func(told string, args ...string) {
		t.Helper()
		var out bytes.Buffer
		if err := run(&out, args); err != nil || !strings.HasPrefix(out.String(), told) || told == "" && out.Len() > 0 {
			t.Errorf("%q told %q, %v, want %q", args, out.String(), err, told)
		}
	}
	want("Made ", "keys", keys)
	key, err := update.ReadPrivateKey(filepath.Join(keys, "update.key"))
	if err != nil {
		t.Fatal(err)
	}
	want("", "keys", keys)
	if err := os.Remove(filepath.Join(keys, "update.pub")); err != nil {
		t.Fatal(err)
	}
	want("", "keys", keys)
	public, err := update.ReadPublicKey(filepath.Join(keys, "update.pub"))
	if err != nil || !public.Equal(key.Public()) {
		t.Errorf("the public key is not that of the private one: %v", err)
	}

	want("", "update", version, keys, output)
	f, err := os.Open(filepath.Join(output, "breakwater_"+version+".update"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r, err := update.Unpack(f, public, nil)
	if err != nil || r.Version != version || r.Schema != settings.Schema || !strings.Contains(r.Notes, "### ") || strings.Contains(r.Notes, "\n## ") {
		t.Errorf("the update is %+v, %v", r, err)
	}

	if err := os.Remove(filepath.Join(keys, "update.key")); err != nil {
		t.Fatal(err)
	}
	want("", "keys", keys)
	want("No update file was written", "update", version, keys, output)
	if _, err := update.NewKey(filepath.Join(keys, "update.key")); err != nil {
		t.Fatal(err)
	}
	if err := run(os.Stdout, []string{"update", version, keys, output}); err == nil || !strings.Contains(err.Error(), "not a pair") {
		t.Errorf("with the key of somebody else: %v", err)
	}
	if err := run(os.Stdout, []string{"sign"}); err == nil || !strings.Contains(err.Error(), "usage") {
		t.Errorf("another word: %v", err)
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
