package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"breakwater/appliance/host"
)

// installDisks are those of a box that runs from sdb.
func installDisks() []host.Disk {
	return []host.Disk{
		{Name: "nvme0n1", Sequence: 3, Model: "Samsung SSD 980", Serial: "S64ANL0R1", Size: 512110190592, Transport: "nvme", Content: host.ContentNothing},
		{Name: "sda", Sequence: 1, Size: 4000787030016, Transport: "ata", Content: host.ContentOther},
		{Name: "sdb", Sequence: 11, Model: "SanDisk Ultra", Serial: "4C530001", Size: 32e9, Transport: "usb", Removable: true, Content: host.ContentBreakwater, Refusal: host.RefusedRunning},
		{Name: "vdb", Sequence: 5, Size: 3e9, Content: host.ContentNothing, Refusal: host.RefusedSmall},
	}
}

const installList = `Disks of this machine

  1  nvme0n1   Samsung SSD 980 S64ANL0R1, 512.1 GB, nvme
               empty
  2  sda       sda, 4.0 TB, ata
               holds data
  -  sdb       SanDisk Ultra 4C530001, 32.0 GB, usb, removable
               holds a Breakwater; not possible: the box runs from it
  -  vdb       vdb, 3.0 GB
               empty; not possible: it is smaller than 4 GB

The disk becomes a box of its own, with a new setup code. Nothing else is copied
from this stick.
`

const (
	askNumber = "\n[Number of the disk]\n"
	again     = "Not taken: type a number from 1 to 2.\n[Number of the disk]\n"
	askSerial = "\nEverything on nvme0n1 (Samsung SSD 980 S64ANL0R1, 512.1 GB) will be lost for good.\n[Type the last 4 characters of its serial number to overwrite it]\n"
	askName   = "\nEverything on sda (sda, 4.0 TB) will be lost for good.\n[Type INSTALL sda to overwrite it]\n"
	writing   = "\nBreakwater is written to nvme0n1 and read back, which takes some minutes. Leave the stick in.\n"
)

func TestInstallDialog(t *testing.T) {
	failure := &host.Failed{Unit: host.Install, Why: "read the new disk back: bad"}
	tests := []struct {
		name  string
		typed []string
		fails error // of the unit
		want  string
		err   error
		asked string // the confirmation of the request
	}{
		{"back at once", []string{""}, nil, askNumber, errBack, ""},
		{"the line is closed", nil, nil, askNumber, io.EOF, ""},
		{"no number of the list, then back", []string{"0", "3", "-1", "sdb", "nvme0n1", ""}, nil, askNumber + strings.Repeat(again, 5), errBack, ""},
		{"not confirmed", []string{"1", "yes"}, nil, askNumber + askSerial, errBack, ""},
		{"the line is closed then", []string{"1"}, nil, askNumber + askSerial, io.EOF, ""},
		{"the end of another serial number", []string{"1", "0001"}, nil, askNumber + askSerial, errBack, ""},
		{"without a serial number", []string{"2", "INSTALL sdb"}, nil, askNumber + askName, errBack, ""},
		{"installed", []string{" 1 ", "l0R1"}, nil, askNumber + askSerial + writing + "Installed to Samsung SSD 980 S64ANL0R1. Power off, remove the stick, start again.\n", nil, "l0R1"},
		{"failed", []string{"1", "L0R1"}, failure, askNumber + askSerial + writing, failure, "L0R1"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			var request host.InstallRequest
			i := newTestInstaller(t, &out, test.typed)
			i.start = func(_ context.Context, unit string) (err error) {
				if unit != host.Install {
					t.Errorf("unit %q is started, want %q", unit, host.Install)
				}
				if request, err = host.ReadInstallRequest(i.request); err != nil {
					t.Error(err)
				}
				return test.fails
			}
			if err := i.dialog(t.Context()); !errors.Is(err, test.err) {
				t.Errorf("got %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(installList+test.want, out.String()); diff != "" {
				t.Errorf("dialogue (-want +got):\n%s", diff)
			}
			if request.Confirmation != test.asked || test.asked != "" && request.Disk != "nvme0n1" {
				t.Errorf("request %+v, want one confirmed by %q", request, test.asked)
			}
		})
	}
}

// newTestInstaller is a dialogue about installDisks with somebody who types these lines and no more.
func newTestInstaller(t *testing.T, out io.Writer, typed []string) *installer {
	return &installer{
		disks: func() ([]host.Disk, error) { return installDisks(), nil }, out: out, request: filepath.Join(t.TempDir(), "install.json"),
		start: func(context.Context, string) error { t.Error("the unit is started"); return nil },
		ask: func(question string) (string, error) {
			fmt.Fprintf(out, "[%s]\n", question)
			if len(typed) == 0 {
				return "", io.EOF
			}
			line := typed[0]
			typed = typed[1:]
			return line, nil
		},
	}
}

func TestInstallDialogRefuses(t *testing.T) {
	internal := installDisks()
	internal[2].Transport, internal[2].Removable = "ata", false
	broken := errors.New("no sysfs")
	tests := []struct {
		name  string
		disks []host.Disk
		err   error
		want  string
	}{
		{"not from a stick", internal, nil, "this box runs from an internal disk already"},
		{"no disk but the stick", installDisks()[2:], nil, "there is no disk in this machine that Breakwater can be installed to"},
		{"no list", nil, broken, "no sysfs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			i := newTestInstaller(t, io.Discard, []string{"1", "L0R1"})
			i.disks = func() ([]host.Disk, error) { return test.disks, test.err }
			if err := i.dialog(t.Context()); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}

// TestInstallDiskChanges: the disk that was chosen is not there any more when the proof was typed.
func TestInstallDiskChanges(t *testing.T) {
	var out bytes.Buffer
	i := newTestInstaller(t, &out, []string{"1", "L0R1"})
	i.claimed = true
	disks := installDisks()
	i.disks = func() ([]host.Disk, error) {
		now := disks
		disks = installDisks()[1:]
		return now, nil
	}
	if err := i.dialog(t.Context()); err == nil || !strings.Contains(err.Error(), "not there any more; choose again") {
		t.Errorf("got %v, want that it is not there", err)
	}
	if want := "logs of this stick stay on it: export the settings"; !strings.Contains(out.String(), want) {
		t.Errorf("the dialogue of a box with an owner lacks %q:\n%s", want, out.String())
	}
}

func TestInstallHint(t *testing.T) {
	if got := installHint(installDisks()); !strings.Contains(got, "Menu, Install") {
		t.Errorf("on a stick: got %q", got)
	}
	twins := installDisks()
	twins[0].Started, twins[2].Started = true, true
	if got, want := installHint(twins), "The same image was written to nvme0n1 and sdb, which cannot be told apart. Remove all but one."; got != want {
		t.Errorf("with a twin: got %q, want %q", got, want)
	}
	i := newTestInstaller(t, io.Discard, []string{"1", "L0R1"})
	i.disks = func() ([]host.Disk, error) { return twins, nil }
	if err := i.dialog(t.Context()); err == nil || err.Error() != installHint(twins) {
		t.Errorf("dialogue with a twin: got %v", err)
	}
	if got := installHint(installDisks()[:2]); got != "" {
		t.Errorf("on a disk: got %q, want nothing", got)
	}
}
