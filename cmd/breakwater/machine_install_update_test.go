package main

import (
	"bytes"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"breakwater/appliance/update"
)

const (
	runningVersion = "20261101.000000"
	newerVersion   = "20261129.090833"
)

// updateBox is what install-update finds on a box. Its systemd-sysupdate tells what it was given.
type updateBox struct {
	t   *testing.T
	dir string
	key ed25519.PrivateKey
}

func newUpdateBox(t *testing.T) *updateBox {
	t.Helper()
	b := &updateBox{t: t, dir: t.TempDir()}
	for _, dir := range []string{"state/update", "unpacked", "kernels", "root/etc"} {
		if err := os.MkdirAll(b.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	b.write("root/etc/os-release", "IMAGE_VERSION="+runningVersion+"\n")
	b.write("kernels/breakwater_"+runningVersion+".efi", "")
	b.write("sysupdate", "#!/bin/sh\ncd "+b.path("unpacked")+"\nls > ../given\nsha256sum --ignore-missing --quiet -c SHA256SUMS\n")
	if err := os.Chmod(b.path("sysupdate"), 0o755); err != nil {
		t.Fatal(err)
	}
	var err error
	if b.key, err = update.NewKey(b.path("key")); err == nil {
		err = update.WritePublicKey(b.path("update.pub"), b.key)
	}
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *updateBox) path(name string) string { return filepath.Join(b.dir, name) }

func (b *updateBox) write(name, content string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// made is an update to a version.
func (b *updateBox) made(version string, key ed25519.PrivateKey) string {
	b.t.Helper()
	return string(updateFile(b.t, version, key))
}

// updateFile is a small update.
func updateFile(t testing.TB, version string, key ed25519.PrivateKey) []byte {
	t.Helper()
	var out bytes.Buffer
	name := "breakwater_" + version
	err := update.Write(&out, key, update.Release{Version: version, Schema: 1, Notes: "- What is new.\n"}, fstest.MapFS{
		name + ".efi": {Data: []byte("a kernel")}, name + ".root." + strings.Repeat("1", 32) + ".raw": {Data: bytes.Repeat([]byte("system"), 1000)},
		name + ".verity." + strings.Repeat("2", 32) + ".raw.gz": {Data: []byte("hashes")}})
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func (b *updateBox) install(wantCode int, wantText string) {
	b.t.Helper()
	expect(b.t, wantCode, wantText, "", b.line("install-update")...)
	left, err := os.ReadDir(b.path("unpacked"))
	if err != nil || len(left) > 0 {
		b.t.Errorf("left behind: %v, %v", left, err)
	}
}

func (b *updateBox) line(word string) []string {
	return []string{"machine", word, "--state", b.path("state"), "--unpacked", b.path("unpacked"), "--key", b.path("update.pub"),
		"--kernels", b.path("kernels"), "--root", b.path("root"), "--sysupdate", b.path("sysupdate")}
}

func (b *updateBox) given() string {
	content, err := os.ReadFile(b.path("given"))
	if err != nil {
		return ""
	}
	return string(content)
}

func TestInstallUpdate(t *testing.T) {
	b := newUpdateBox(t)
	b.write("state/update/incoming", b.made(newerVersion, b.key))
	b.write("unpacked/left", "what the end of the power left")
	b.install(0, "Version "+newerVersion+" is installed and starts at the next restart.")
	name := "breakwater_" + newerVersion
	want := "SHA256SUMS\n" + name + ".efi\n" + name + ".root." + strings.Repeat("1", 32) + ".raw\n" + name + ".verity." + strings.Repeat("2", 32) + ".raw.gz\n"
	if got := b.given(); got != want {
		t.Errorf("systemd-sysupdate was given\n%swant\n%s", got, want)
	}
	b.write("unpacked/left", "")
	expect(t, 0, "", "", b.line("clear-update")...)
	if left, err := os.ReadDir(b.path("unpacked")); err != nil || len(left) > 0 {
		t.Errorf("cleared: %v, %v", left, err)
	}
}

// TestInstallUpdateRefuses: nothing reaches the slot, and systemd is told the sentence that the page shows.
func TestInstallUpdateRefuses(t *testing.T) {
	_, other, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		prepare func(*updateBox)
		want    string
	}{
		{"nothing", func(*updateBox) {}, "there is no update to install"},
		{"another key", func(b *updateBox) { b.write("state/update/incoming", b.made(newerVersion, other)) }, "not signed with the key that this box trusts"},
		{"the same", func(b *updateBox) { b.write("state/update/incoming", b.made(runningVersion, b.key)) }, "version 20261101.000000 runs already"},
		{"older", func(b *updateBox) { b.write("state/update/incoming", b.made("20250101.000000", b.key)) }, "is older than 20261101.000000, which runs"},
		{"cut short", func(b *updateBox) { b.write("state/update/incoming", b.made(newerVersion, b.key)[:9000]) }, "cut short: it ends after 9000 bytes"},
		{"another file", func(b *updateBox) { b.write("state/update/incoming", "PK\x03\x04") }, "not an update file of Breakwater"},
		{"given up", func(b *updateBox) {
			b.write("state/update/incoming", b.made(newerVersion, b.key))
			b.write("kernels/breakwater_"+newerVersion+"+0-3.efi", "")
		}, "version " + newerVersion + " is in the other slot already"},
		{"on trial", func(b *updateBox) {
			b.write("state/update/incoming", b.made(newerVersion, b.key))
			b.write("kernels/breakwater_"+runningVersion+"+2-1.efi", "")
		}, "version 20261101.000000, which runs, is on trial still"},
		{"a link", func(b *updateBox) {
			b.write("secret", b.made(newerVersion, b.key))
			if err := os.Symlink(b.path("secret"), b.path("state/update/incoming")); err != nil {
				b.t.Fatal(err)
			}
		}, "open the update: "},
		{"a directory that is a link", func(b *updateBox) {
			if err := os.Remove(b.path("state/update")); err != nil {
				b.t.Fatal(err)
			}
			if err := os.Symlink(b.dir, b.path("state/update")); err != nil {
				b.t.Fatal(err)
			}
			b.write("incoming", b.made(newerVersion, b.key))
		}, "open the update: "},
		{"a directory", func(b *updateBox) {
			if err := os.Mkdir(b.path("state/update/incoming"), 0o755); err != nil {
				b.t.Fatal(err)
			}
		}, "the update is no file"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newUpdateBox(t)
			heard := listenReady(t, b.path("notify"))
			t.Setenv("NOTIFY_SOCKET", b.path("notify"))
			test.prepare(b)
			b.install(1, test.want)
			if got := b.given(); got != "" {
				t.Errorf("systemd-sysupdate was given %q", got)
			}
			if got := heard(); !strings.HasPrefix(got, "STATUS=") || len(got) < 99 && !strings.Contains(got, test.want) {
				t.Errorf("systemd heard %q, want %q", got, test.want)
			}
		})
	}
}

func TestInstallUpdateWhoseSlotCannotBeWritten(t *testing.T) {
	b := newUpdateBox(t)
	b.write("state/update/incoming", b.made(newerVersion, b.key))
	b.write("sysupdate", "#!/bin/sh\necho begin >&2\necho 'No space in the partition' >&2\nexit 1\n")
	b.install(1, "the other slot could not be written, and this version stays: No space in the partition")
}

func TestInstallUpdateCutShortAtEachEntry(t *testing.T) {
	b := newUpdateBox(t)
	whole := b.made(newerVersion, b.key)
	for at := 512; at < len(whole); at += 512 {
		b.write("state/update/incoming", whole[:at])
		b.install(1, fmt.Sprintf("cut short: it ends after %d bytes", at))
	}
	if got := b.given(); got != "" {
		t.Errorf("systemd-sysupdate was given %q", got)
	}
}

func TestInstallUpdateNeedsRoom(t *testing.T) {
	c := installUpdateCmd{updatePlaces{Unpacked: t.TempDir()}}
	if err := c.needRoom(1 << 50); err == nil || !strings.Contains(err.Error(), "not enough room to unpack the update: it takes 1073741824 MiB") {
		t.Errorf("got %v", err)
	}
	if err := c.needRoom(1); err != nil {
		t.Error(err)
	}
}
