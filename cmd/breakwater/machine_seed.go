package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/seed"
	"breakwater/appliance/settings"
)

// seedCmd is systemd/breakwater-seed.service: it looks for a seed on a stick and on the ESP, and gives a sound one to
// control before it wipes it. Tests have other places.
type seedCmd struct {
	State  string `hidden:"" default:"/var/lib/breakwater" help:"Control's directory."`
	Stick  string `hidden:"" default:"/dev/disk/by-label/BREAKWATER" help:"A FAT file system with this label."`
	ESP    string `hidden:"" name:"esp" default:"/dev/disk/by-partlabel/ESP" help:"The ESP of the box."`
	Mounts string `hidden:"" default:"/run/breakwater-seed" help:"Where they are mounted."`

	// mount puts the file system of a device at a directory, until the returned function is called; nil: mountFAT.
	mount func(device, dir string) (release func() error, err error)
	wipe  func(root *os.Root, size int64) error // nil: wipe
}

// Run tells what it did, and what is wrong in one sentence, which is also told to systemd.
func (c *seedCmd) Run(e *env) error { return tell("", c.seed(e.stdout)) }

// seedPlace is where a seed may be.
type seedPlace struct{ name, device string }

func (c *seedCmd) seed(out io.Writer) error {
	var there []seedPlace
	for _, p := range []seedPlace{{seed.Label, c.Stick}, {"the ESP of this box", c.ESP}} {
		if _, err := os.Stat(p.device); err == nil {
			there = append(there, p)
		}
	}
	if seed.Owned(c.State) || seed.Waits(c.State) {
		if len(there) > 0 && there[0].name == seed.Label {
			fmt.Fprintf(out, "This box has an owner or a seed already: %s is not looked at.\n", seed.Label)
		}
		return nil
	}
	if err := seed.Notify(c.State, nil); err != nil {
		return err
	}
	for _, p := range there {
		done, err := c.plant(out, p)
		if done || err != nil {
			return err
		}
	}
	return nil
}

// plant reads the seed of one place, if there is one, and reports whether control has it.
func (c *seedCmd) plant(out io.Writer, p seedPlace) (done bool, err error) {
	mount := c.mount
	if mount == nil {
		mount = mountFAT
	}
	release, err := mount(p.device, c.Mounts)
	if err != nil {
		return false, c.tell(seed.Notice{Title: p.name + " could not be looked at for a seed file", Detail: sentence(err) + "."}, err)
	}
	defer func() { err = errors.Join(err, release()) }()
	root, err := os.OpenRoot(c.Mounts)
	if err != nil {
		return false, err
	}
	defer root.Close()
	file, err := openSeed(root)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, c.tell(seed.NoticeOf(p.name, []settings.Problem{{Text: err.Error()}}), err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, seed.MaxSize+1))
	if err != nil {
		return false, c.tell(seed.NoticeOf(p.name, []settings.Problem{{Text: err.Error()}}), fmt.Errorf("read the seed file: %w", err))
	}
	if _, problems := seed.Read(data); len(problems) > 0 {
		return false, c.tell(seed.NoticeOf(p.name, problems), fmt.Errorf("the seed file on %s was not applied: %w", p.name, &seed.Invalid{Problems: problems}))
	}
	if err := seed.Hand(c.State, seed.Handed{From: p.name, Seed: data}); err != nil {
		return false, fmt.Errorf("give the seed to control: %w", err)
	}
	fmt.Fprintf(out, "The seed file on %s is sound and is being applied.\n", p.name)
	wipeIt := c.wipe
	if wipeIt == nil {
		wipeIt = wipe
	}
	if err := wipeIt(root, int64(len(data))); err != nil {
		return true, c.tell(seed.Notice{Title: "The seed file on " + p.name + " could not be wiped",
			Detail: sentence(err) + ". It was handed over, and holds hashes of passwords: destroy it."}, err)
	}
	fmt.Fprintf(out, "The seed file on %s was wiped.\n", p.name)
	return true, nil
}

// tell gives control a notice to show, and returns why there is one.
func (c *seedCmd) tell(n seed.Notice, why error) error {
	n.Time = time.Now().UTC()
	return errors.Join(why, seed.Notify(c.State, &n))
}

// sentence is an error with a capital at its beginning.
func sentence(err error) string {
	text := err.Error()
	return strings.ToUpper(text[:1]) + text[1:]
}

// openSeed opens the file for reading. A file system may hold anything under that name.
func openSeed(root *os.Root) (*os.File, error) {
	file, err := root.OpenFile(seed.FileName, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open the seed file: %w", err)
	}
	info, err := file.Stat()
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = errors.New("the seed file is no file")
	case info.Size() > seed.MaxSize:
		err = fmt.Errorf("the seed file has %d bytes; at most %d are allowed", info.Size(), seed.MaxSize)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// wipe writes zeros over the file where it is, which FAT does in place, and removes it. What the controller of a stick
// keeps of blocks that were written before is beyond that.
func wipe(root *os.Root, size int64) error {
	file, err := root.OpenFile(seed.FileName, os.O_WRONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return fmt.Errorf("wipe the seed file: %w", err)
	}
	_, err = file.Write(make([]byte, size))
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return fmt.Errorf("wipe the seed file: %w", err)
	}
	if err := root.Remove(seed.FileName); err != nil {
		return fmt.Errorf("remove the seed file: %w", err)
	}
	dir, err := root.Open(".")
	if err != nil {
		return fmt.Errorf("wipe the seed file: %w", err)
	}
	if err := errors.Join(unix.Syncfs(int(dir.Fd())), dir.Close()); err != nil {
		return fmt.Errorf("wipe the seed file: %w", err)
	}
	return nil
}

// mountFAT mounts a device as FAT and nothing else; read-only where it cannot be written, so that its seed can be told
// about. The ESP may be mounted elsewhere at the same time: both are the same file system to the kernel.
func mountFAT(device, dir string) (release func() error, err error) {
	const harmless = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC | unix.MS_NOSYMFOLLOW
	err = unix.Mount(device, dir, "vfat", harmless, "umask=0077")
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.EACCES) {
		err = unix.Mount(device, dir, "vfat", harmless|unix.MS_RDONLY, "umask=0077")
	}
	if err != nil {
		return nil, fmt.Errorf("mount %s as FAT: %w", strings.TrimPrefix(device, "/dev/disk/"), err)
	}
	return func() error {
		if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil {
			return fmt.Errorf("unmount %s: %w", strings.TrimPrefix(device, "/dev/disk/"), err)
		}
		return nil
	}, nil
}
