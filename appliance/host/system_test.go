package host

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestImageVersion(t *testing.T) {
	if got := imageVersion([]byte("ID=debian\nIMAGE_ID=breakwater\nIMAGE_VERSION=\"20261122.1\"\n")); got != "20261122.1" {
		t.Errorf("got %q, want 20261122.1", got)
	}
	if got := imageVersion([]byte("ID=debian\n")); got != "" {
		t.Errorf("without a version: got %q, want none", got)
	}
}

func TestFailedVersions(t *testing.T) {
	tests := []struct {
		name, entries string
		want          []string
	}{
		{"one", "breakwater_7.efi\x00auto-reboot-to-firmware-setup\x00", nil},
		{"the newer one runs or is on trial", "breakwater_8.efi\x00breakwater_7.efi\x00", nil},
		{"given up", "breakwater_7.efi\x00breakwater_8.efi\x00zeta.efi\x00", []string{"8"}},
		{"cut short", "breakwater_7.efi\x00breakwater_8.", nil},
		{"empty", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			content := []byte{6, 0, 0, 0}
			for _, letter := range utf16.Encode([]rune(test.entries)) {
				content = binary.LittleEndian.AppendUint16(content, letter)
			}
			file := filepath.Join(t.TempDir(), "LoaderEntries")
			if err := os.WriteFile(file, content, 0o600); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, failedVersions(file), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("versions (-want +got):\n%s", diff)
			}
		})
	}
	if got := failedVersions(filepath.Join(t.TempDir(), "none")); got != nil {
		t.Errorf("without the variable: got %q, want none", got)
	}
}

func TestOtherVersion(t *testing.T) {
	dir := t.TempDir()
	for file, content := range map[string]string{
		"vda/vda3/partition": "3\n", "vda/vda3/dev": "254:3\n", "vda/vda5/partition": "5\n", "vda/vda5/dev": "254:5\n",
		"vda/vda2/partition": "2\n", "vda/vda2/dev": "254:2\n",
		"udev/b254:3": "E:ID_PART_ENTRY_NUMBER=3\nE:ID_PART_ENTRY_NAME=breakwater_7\n", "udev/b254:5": "E:ID_PART_ENTRY_NAME=breakwater_8\n",
		"vdb/vdb3/partition": "3\n", "vdb/vdb3/dev": "254:19\n", "vdb/vdb5/partition": "5\n", "vdb/vdb5/dev": "254:21\n",
		"udev/b254:21": "E:ID_PART_ENTRY_NAME=_empty\n",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for partition, want := range map[string]string{"vda/vda3": "8", "vda/vda2": "8", "vda/vda5": "7", "vdb/vdb3": "", "vdb/vdb5": "", "none": ""} {
		if got := otherVersion(filepath.Join(dir, partition), filepath.Join(dir, "udev")); got != want {
			t.Errorf("beside %s: got %q, want %q", partition, got, want)
		}
	}
}

func TestReadPorts(t *testing.T) {
	dir := t.TempDir()
	for file, content := range map[string]string{
		"up/address": "52:54:00:00:00:01\n", "up/carrier": "1\n", "up/speed": "10000\n", "up/device/vendor": "",
		"unknown/address": "52:54:00:00:00:02\n", "unknown/carrier": "1\n", "unknown/speed": "-1\n", "unknown/device/vendor": "",
		"bridge/address": "52:54:00:00:00:03\n", "bridge/uevent": "DEVTYPE=bridge\nINTERFACE=bridge\nIFINDEX=4\n",
		"v7/address": "52:54:00:00:00:01\n", "v7/carrier": "1\n", "v7/speed": "10000\n", "v7/uevent": "DEVTYPE=vlan\nINTERFACE=v7\nIFINDEX=5\n",
	} {
		path := filepath.Join(dir, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	lines := func(ports []Port) (list []string) {
		for _, p := range ports {
			list = append(list, fmt.Sprint(p.Name, " ", p.MAC, " ", p.Link, " ", p.Speed))
		}
		return list
	}
	want := []string{"unknown 52:54:00:00:00:02 true 0", "up 52:54:00:00:00:01 true 10000"}
	if diff := cmp.Diff(want, lines(ReadPorts(dir))); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"v7 52:54:00:00:00:01 true 10000"}, lines(ReadMade(dir))); diff != "" {
		t.Errorf("made of ports (-want +got):\n%s", diff)
	}
}
