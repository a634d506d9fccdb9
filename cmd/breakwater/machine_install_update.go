package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"breakwater/appliance/host"
	"breakwater/appliance/settings"
	"breakwater/appliance/update"
	"breakwater/appliance/whole"
)

// roomLeft is what an update leaves free in /var for settings and logs, in bytes.
const roomLeft = 64 << 20

// updatePlaces are the files that an update is about. Tests have others.
type updatePlaces struct {
	State     string `hidden:"" default:"/var/lib/breakwater" help:"Control's directory."`
	Unpacked  string `hidden:"" default:"/var/lib/breakwater-update" help:"Where systemd-sysupdate finds the files."`
	Key       string `hidden:"" default:"/usr/share/breakwater/update.pub" help:"The key that updates are signed with."`
	Kernels   string `hidden:"" default:"/efi/EFI/Linux" help:"What systemd-boot can start."`
	Root      string `hidden:"" default:"/" help:"The system that runs."`
	Sysupdate string `hidden:"" default:"/usr/lib/systemd/systemd-sysupdate" help:"systemd-sysupdate(8)."`
}

// installUpdateCmd is systemd/breakwater-update.service. The end of the power at any moment leaves a box that starts
// what it started before: the files in Unpacked are removed when it starts, and systemd-sysupdate gives the slot its
// name and systemd-boot its new entry only when all is written.
type installUpdateCmd struct{ updatePlaces }

// Run returns what is wrong in one sentence, which is also told to systemd.
func (c *installUpdateCmd) Run(ctx context.Context, e *env) error {
	r, err := c.install(ctx)
	if err := tell("", err); err != nil {
		return err
	}
	_, err = fmt.Fprintf(e.stdout, "Version %s is installed and starts at the next restart.\n", r.Version)
	return err
}

func (c *installUpdateCmd) install(ctx context.Context) (r update.Release, err error) {
	key, err := update.ReadPublicKey(c.Key)
	if err != nil {
		return r, err
	}
	f, err := openIncoming(c.State)
	if err != nil {
		return r, err
	}
	defer f.Close()
	if r, err = c.admit(f, key); err != nil {
		return r, err
	}
	if err := clearDir(c.Unpacked); err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, clearDir(c.Unpacked)) }()
	again, err := update.Unpack(f, key, c.create)
	if err != nil {
		return r, err
	}
	if again != r { // control has put another in its place meanwhile
		return r, errors.New("the update was changed while it was read")
	}
	if err := c.sysupdate(ctx); err != nil {
		return r, err
	}
	// systemd-sysupdate waits for the disk to have the kernel's new name, but on FAT that name stands for no bytes until the inode is
	// written as well, seconds later (vfat_rename in fs/fat/namei_vfat.c).
	if err := whole.SyncFS(c.Kernels); err != nil {
		return r, fmt.Errorf("bring the new version to the disk: %w", err)
	}
	return r, nil
}

// openIncoming opens control's file, update/incoming, which control could have replaced by a link to any other, or by a
// pipe; its directory as well. openat2(2) would do it in one step, but RestrictSUIDSGID= takes that away (systemd.exec(5)).
func openIncoming(state string) (*os.File, error) {
	dir, err := os.Open(state)
	if err != nil {
		return nil, fmt.Errorf("open the update: %w", err)
	}
	defer dir.Close()
	const flags = unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NOFOLLOW
	inner, err := unix.Openat(int(dir.Fd()), "update", flags|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, noIncoming(err)
	}
	fd, err := unix.Openat(inner, "incoming", flags|unix.O_NONBLOCK, 0)
	if err = errors.Join(err, unix.Close(inner)); err != nil {
		return nil, noIncoming(err)
	}
	f := os.NewFile(uintptr(fd), "incoming")
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("the update is no file")
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func noIncoming(err error) error {
	if errors.Is(err, unix.ENOENT) {
		return errors.New("there is no update to install")
	}
	return fmt.Errorf("open the update: %w", err)
}

// admit reads the head of the update and refuses what must not be written, before anything is.
func (c *installUpdateCmd) admit(f *os.File, key ed25519.PublicKey) (update.Release, error) {
	r, err := update.Inspect(f, key)
	if err != nil {
		return r, err
	}
	running := host.ReadSystem(c.Root).Version
	if err := r.Admit(running, settings.Schema); err != nil {
		return r, err
	}
	if err := c.judgeKernels(r.Version, running); err != nil {
		return r, err
	}
	info, err := f.Stat()
	if err != nil {
		return r, err
	}
	if err := c.needRoom(info.Size()); err != nil {
		return r, err
	}
	_, err = f.Seek(0, io.SeekStart)
	return r, err
}

// judgeKernels reads the names that systemd-boot counts tries down in: breakwater_VERSION+LEFT-DONE.efi. Without a plus
// a version was found healthy. While the one that runs is on trial its fall-back must not be written over.
func (c *installUpdateCmd) judgeKernels(incoming, running string) error {
	entries, err := os.ReadDir(c.Kernels)
	if err != nil {
		return fmt.Errorf("look at the versions that are installed: %w", err)
	}
	for _, e := range entries {
		name, ours := strings.CutPrefix(e.Name(), "breakwater_")
		version, tries, counted := strings.Cut(strings.TrimSuffix(name, ".efi"), "+")
		switch {
		case !ours || !counted:
		case version == running:
			return fmt.Errorf("version %s, which runs, is on trial still; try again in a few minutes", running)
		case version == incoming && (tries == "0" || strings.HasPrefix(tries, "0-")):
			return fmt.Errorf("version %s is in the other slot already and was given up; take a newer one, or try it once more under System, Power", incoming)
		}
	}
	return nil
}

func (c *installUpdateCmd) needRoom(size int64) error {
	var s unix.Statfs_t
	if err := unix.Statfs(c.Unpacked, &s); err != nil {
		return fmt.Errorf("look for room in %s: %w", c.Unpacked, err)
	}
	if free := int64(s.Bavail) * s.Bsize; free < size+roomLeft {
		return fmt.Errorf("there is not enough room to unpack the update: it takes %d MiB, %d MiB must stay free, and %d MiB are", size>>20, roomLeft>>20, free>>20)
	}
	return nil
}

func (c *installUpdateCmd) create(name string, _ int64) (io.WriteCloser, error) {
	f, err := os.OpenFile(filepath.Join(c.Unpacked, name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return synced{f}, nil
}

// synced is on the disk once it is closed.
type synced struct{ *os.File }

func (s synced) Close() error { return errors.Join(s.Sync(), s.File.Close()) }

// sysupdate writes the slot and then the kernel, as image/extra/usr/lib/sysupdate.d says.
func (c *installUpdateCmd) sysupdate(ctx context.Context) error {
	command := exec.CommandContext(ctx, c.Sysupdate, "update")
	var told bytes.Buffer
	command.Stdout, command.Stderr = os.Stdout, io.MultiWriter(os.Stderr, &told)
	if err := command.Run(); err != nil {
		lines := strings.Split(strings.TrimSpace(told.String()), "\n")
		return fmt.Errorf("the other slot could not be written, and this version stays: %s (%w)", clean(lines[len(lines)-1]), err)
	}
	return nil
}

// clearUpdateCmd runs after the installation, however that ended.
type clearUpdateCmd struct{ updatePlaces }

// Run removes what was unpacked.
func (c *clearUpdateCmd) Run() error { return clearDir(c.Unpacked) }

// clearDir empties a directory of root's.
func clearDir(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Mkdir(dir, 0o700)
	}
	for _, e := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
	}
	return err
}
