package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"breakwater/appliance/host"
)

// installHint is what the console shows on a box that runs from a stick, and on one that cannot know what it runs from;
// empty on any other.
func installHint(disks []host.Disk) string {
	if twins := host.Twins(disks); twins != nil {
		var names []string
		for _, d := range twins {
			names = append(names, d.Name)
		}
		return "The same image was written to " + strings.Join(names, " and ") + ", which cannot be told apart. Remove all but one."
	}
	if !host.Installer(disks) {
		return ""
	}
	return "This box runs from a USB stick. Menu, Install puts it on an internal disk."
}

// installer is the dialogue that puts the box on an internal disk.
type installer struct {
	ask     func(question string) (string, error) // returns the line that was typed
	out     io.Writer
	disks   func() ([]host.Disk, error)
	request string // file; host.InstallRequestFile but in tests
	start   func(ctx context.Context, unit string) error
	claimed bool // the stick has an owner, whose settings stay on it
}

// install is the dialogue on the appliance.
func (m *menu) install(ctx context.Context) error {
	i := installer{
		ask: func(question string) (string, error) { return m.ask(ctx, question) },
		out: m.out, claimed: m.seen.setup.Claimed, request: host.InstallRequestFile,
		start: func(ctx context.Context, unit string) error {
			_, err := m.start(ctx, unit) // what it tells is said here as well
			return err
		},
		disks: func() ([]host.Disk, error) { return host.ReadDisks("/") },
	}
	return i.dialog(ctx)
}

// dialog lists the disks, asks for one and for a proof that its content may go, and installs. Its errors are those of
// ask, errBack, and what the installation failed with.
func (i *installer) dialog(ctx context.Context) error {
	disks, err := i.disks()
	if err != nil {
		return err
	}
	if host.Twins(disks) != nil {
		return errors.New(installHint(disks))
	}
	if !host.Installer(disks) {
		return errors.New("this box runs from an internal disk already; it is installed from a USB stick only")
	}
	text, choice := diskChoice(disks)
	i.say(text)
	if len(choice) == 0 {
		return errors.New("there is no disk in this machine that Breakwater can be installed to")
	}
	i.say(i.consequence())
	disk, err := i.choose(choice)
	if err != nil {
		return err
	}
	typed, err := i.confirm(disk)
	if err != nil {
		return err
	}
	return i.install(ctx, disk.Request(typed))
}

// install starts the unit, which looks at the disk again, and waits for it.
func (i *installer) install(ctx context.Context, r host.InstallRequest) error {
	disks, err := i.disks()
	if err != nil {
		return err
	}
	disk, err := host.FindDisk(disks, r) // it may be gone since it was listed
	if err != nil {
		return err
	}
	i.say("\nBreakwater is written to " + disk.Name + " and read back, which takes some minutes. Leave the stick in.")
	if err := r.Write(i.request); err != nil {
		return err
	}
	if err := i.start(ctx, host.Install); err != nil {
		return err
	}
	i.say(installed(disk))
	return nil
}

func (i *installer) say(text string) { fmt.Fprintln(i.out, text) }

func (i *installer) consequence() string {
	text := "The disk becomes a box of its own, with a new setup code. "
	if i.claimed {
		return text + "The settings, accounts and\nlogs of this stick stay on it: export the settings on the web page to take them along.\n"
	}
	return text + "Nothing else is copied\nfrom this stick.\n"
}

// choose asks again for what is no number of the list.
func (i *installer) choose(choice []host.Disk) (*host.Disk, error) {
	for {
		typed, err := i.ask("Number of the disk")
		typed = strings.TrimSpace(typed)
		if err != nil {
			return nil, err
		}
		if typed == "" {
			return nil, errBack
		}
		if n, err := strconv.Atoi(typed); err == nil && n >= 1 && n <= len(choice) {
			return &choice[n-1], nil
		}
		i.say(fmt.Sprintf("Not taken: type a number from 1 to %d.", len(choice)))
	}
}

// confirm returns what was typed, if it is the proof.
func (i *installer) confirm(d *host.Disk) (string, error) {
	i.say(fmt.Sprintf("\nEverything on %s (%s, %s) will be lost for good.", d.Name, diskName(*d), sizeText(d.Size)))
	what := "the last 4 characters of its serial number"
	if strings.HasPrefix(d.Confirmation(), "INSTALL") {
		what = d.Confirmation()
	}
	typed, err := i.ask("Type " + what + " to overwrite it")
	if err == nil && !d.Confirmed(typed) {
		err = errBack
	}
	return typed, err
}

// diskChoice is the list of disks as text, and those of it that have a number.
func diskChoice(disks []host.Disk) (string, []host.Disk) {
	var b strings.Builder
	var choice []host.Disk
	b.WriteString("Disks of this machine\n\n")
	for _, d := range disks {
		mark, why := "-", ""
		if d.Refusal == "" {
			choice = append(choice, d)
			mark = strconv.Itoa(len(choice))
		} else {
			why = "; not possible: " + d.Refusal.Text()
		}
		fmt.Fprintf(&b, "%3s  %-10s%s, %s%s\n     %-10s%s%s\n", mark, d.Name, diskName(d), sizeText(d.Size), transportText(d), "", contentText(d.Content), why)
	}
	return b.String(), choice
}

// sizeText is as on the label of a disk: in units of 1000.
func sizeText(bytes int64) string {
	if bytes >= 1e12 {
		return fmt.Sprintf("%.1f TB", float64(bytes)/1e12)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}

func transportText(d host.Disk) string {
	text := ""
	if d.Transport != "" {
		text = ", " + d.Transport
	}
	if d.Removable {
		text += ", removable"
	}
	return text
}

func contentText(c host.Content) string {
	switch c {
	case host.ContentNothing:
		return "empty"
	case host.ContentBreakwater:
		return "holds a Breakwater"
	}
	return "holds data"
}
