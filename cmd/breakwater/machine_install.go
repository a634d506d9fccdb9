package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/host"
)

// installToDiskCmd puts the system that runs on an internal disk (systemd/breakwater-install.service).
type installToDiskCmd struct {
	Request string `help:"File that says which disk." default:"/run/breakwater/install.json" type:"path" placeholder:"FILE"`
}

const (
	installDefinitions = "/usr/share/breakwater/install.repart.d"
	bootPartition      = "/efi" // of the disk that runs
)

// Run installs, and tells systemd in one sentence how that ended. Control wrote the request and is not trusted with
// it: the disk is looked at again, in the kernel, at the last moment.
func (c *installToDiskCmd) Run(ctx context.Context, _ *env) error {
	done, err := c.run(ctx)
	return tell(done, err)
}

func (c *installToDiskCmd) run(ctx context.Context) (string, error) {
	request, err := host.ReadInstallRequest(c.Request)
	if err != nil {
		return "", err
	}
	if err := os.Remove(c.Request); err != nil { // it is for once
		return "", err
	}
	disks, err := host.ReadDisks("/")
	if err != nil {
		return "", err
	}
	if host.Twins(disks) != nil {
		return "", errors.New(installHint(disks))
	}
	if !host.Installer(disks) {
		return "", errors.New("this box does not run from a USB stick, and only from there is it installed")
	}
	disk, err := host.FindDisk(disks, request)
	if err != nil {
		return "", err
	}
	i := installation{disk: disk, version: host.ReadSystem("/").Version}
	if i.hash, err = host.RootHash("/"); err != nil {
		return "", err
	}
	if i.files, err = bootFiles(bootPartition, i.version); err != nil {
		return "", err
	}
	if err := i.claim(); err != nil {
		return "", err
	}
	if err := i.write(ctx); err != nil {
		return "", fmt.Errorf("%w; nothing starts from %s now, and the stick is as it was", err, disk.Name)
	}
	return installed(disk), nil
}

func installed(d host.Disk) string {
	return "Installed to " + diskName(d) + ". Power off, remove the stick, start again."
}

// diskName is how people know a disk.
func diskName(d host.Disk) string {
	return strings.Join(strings.Fields(cmp.Or(d.Model, d.Name)+" "+d.Serial), " ")
}

type installation struct {
	disk          host.Disk
	version, hash string
	files         []bootFile
}

// claim makes sure that nobody has the disk: the kernel opens what is mounted or held to nobody exclusively.
func (i *installation) claim() error {
	f, err := os.OpenFile("/dev/"+i.disk.Name, os.O_RDWR|unix.O_EXCL, 0)
	if errors.Is(err, unix.EBUSY) {
		return fmt.Errorf("something on %s is in use", i.disk.Name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil || size != i.disk.Size {
		return fmt.Errorf("%s changed while it was looked at", i.disk.Name)
	}
	return nil
}

// write overwrites the disk. The partition table comes after the system (systemd-repart(8) writes it last), and what
// the firmware starts after everything else: a disk on which that ended early does not start at all.
func (i *installation) write(ctx context.Context) error {
	if err := notify("STATUS=The system is written to " + i.disk.Name + "."); err != nil {
		return err
	}
	if err := repart(ctx, "/dev/"+i.disk.Name); err != nil {
		return err
	}
	locked, parts, err := i.partitions(ctx)
	if err != nil {
		return err
	}
	defer locked.Close()
	if err := i.putBootFiles(ctx, parts[0]); err != nil {
		return err
	}
	if err := notify("STATUS=The system on " + i.disk.Name + " is read back."); err != nil {
		return err
	}
	if err := checkSystem(parts[2], parts[1], i.hash); err != nil {
		return err
	}
	return i.checkBootFiles(ctx, parts[0])
}

// repart makes the partitions and copies the system. Identifiers are made by chance, but those of the system: no two
// disks have the same ESP, and by that the initrd tells the disk that was started from (61-breakwater.rules).
func repart(ctx context.Context, device string) error {
	command := exec.CommandContext(ctx, "systemd-repart", "--definitions="+installDefinitions, "--empty=force", "--seed=random",
		"--dry-run=no", "--pretty=no", "--no-pager", device)
	var told bytes.Buffer
	command.Stderr = io.MultiWriter(os.Stderr, &told)
	command.Stdout = os.Stderr
	if err := command.Run(); err != nil {
		return fmt.Errorf("write the system to %s: %s", device, cmp.Or(lastLine(told.String()), err.Error()))
	}
	return nil
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return clean(strings.TrimRight(lines[len(lines)-1], "."))
}

// partitions waits for those that repart made: ESP, hashes, system. udev has the kernel read the table once more when
// repart ends, and for a moment there are none; the lock keeps it from doing so again (systemd's block device locking).
func (i *installation) partitions(ctx context.Context) (locked *os.File, parts [3]string, err error) {
	disk, err := os.Open("/dev/" + i.disk.Name)
	if err != nil {
		return nil, parts, err
	}
	for try := 0; ; try++ {
		if err = unix.Flock(int(disk.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil {
			if parts, err = i.nodes(); err == nil {
				return disk, parts, nil
			}
			err = errors.Join(err, unix.IoctlSetInt(int(disk.Fd()), unix.BLKRRPART, 0)) // nobody else does, while it is locked
		}
		if try == settleTries {
			return nil, parts, errors.Join(fmt.Errorf("wait for the new partitions of %s: %w", i.disk.Name, err), disk.Close())
		}
		if err := pause(ctx); err != nil {
			return nil, parts, errors.Join(err, disk.Close())
		}
	}
}

// nodes are the devices of the partitions, which are there.
func (i *installation) nodes() (parts [3]string, err error) {
	for n := range parts {
		if parts[n], err = host.Partition("/", i.disk.Name, n+1); err != nil {
			return parts, err
		}
		if _, err := os.Stat(parts[n]); err != nil {
			return parts, err
		}
	}
	return parts, nil
}

// settleTries and settlePause bound how long the kernel and udev may take over a change of partitions: 30 s.
const (
	settleTries = 120
	settlePause = 250 * time.Millisecond
)

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settlePause):
		return nil
	}
}

// checkSystem reads the system back from the disk, not from memory, and compares it with what runs.
func checkSystem(system, hashes, hash string) error {
	data, err := openFlushed(system)
	if err != nil {
		return err
	}
	defer data.Close()
	tree, err := openFlushed(hashes)
	if err != nil {
		return err
	}
	defer tree.Close()
	if err := host.Verify(data, tree, hash); err != nil {
		return fmt.Errorf("read the new disk back: %w", err)
	}
	return nil
}

// openFlushed opens a block device whose content is not in memory any more (BLKFLSBUF, linux/fs.h).
func openFlushed(device string) (*os.File, error) {
	f, err := os.Open(device)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Sync(), unix.IoctlSetInt(int(f.Fd()), unix.BLKFLSBUF, 0)); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s to the end: %w", device, err), f.Close())
	}
	return f, nil
}

// bootFile is a file of the ESP: where it is on the disk that runs, and what it is called on the other.
type bootFile struct{ from, to string }

// bootFiles lists what a new ESP gets: the boot loader, its settings and keys, and the kernel of the version that runs.
// The firmware starts what is in EFI/BOOT, which comes last. What the owner of the stick put there stays there.
func bootFiles(esp, version string) ([]bootFile, error) {
	kernel := "breakwater_" + version + ".efi"
	if _, err := os.Stat(filepath.Join(esp, "EFI/Linux", kernel)); err != nil {
		trial, globErr := filepath.Glob(filepath.Join(esp, "EFI/Linux/breakwater_"+version+"+*.efi"))
		if globErr == nil && len(trial) > 0 {
			return nil, fmt.Errorf("version %s is on trial; install it when it was found healthy", version)
		}
		return nil, fmt.Errorf("find the kernel of version %s: %w", version, err)
	}
	list := []bootFile{{filepath.Join(esp, "EFI/Linux", kernel), "EFI/Linux/" + kernel}}
	for _, part := range []string{"EFI/systemd", "loader/loader.conf", "loader/entries.srel", "loader/keys", "EFI/BOOT"} {
		err := filepath.WalkDir(filepath.Join(esp, part), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			to, err := filepath.Rel(esp, path)
			list = append(list, bootFile{path, to})
			return err
		})
		optional := part == "loader/keys" || part == "loader/entries.srel"
		if err != nil && (!optional || !errors.Is(err, fs.ErrNotExist)) {
			return nil, fmt.Errorf("read the boot loader: %w", err)
		}
	}
	if !slices.ContainsFunc(list, func(f bootFile) bool { return strings.EqualFold(f.to, "EFI/BOOT/BOOTX64.EFI") }) {
		return nil, errors.New("read the boot loader: there is no EFI/BOOT/BOOTX64.EFI")
	}
	return list, nil
}

func (i *installation) putBootFiles(ctx context.Context, device string) error {
	return mounted(ctx, device, 0, func(esp string) error {
		for _, f := range i.files {
			if err := copyFile(f.from, filepath.Join(esp, f.to)); err != nil {
				return fmt.Errorf("write the boot loader: %w", err)
			}
		}
		return nil
	})
}

func copyFile(from, to string) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func (i *installation) checkBootFiles(ctx context.Context, device string) error {
	flushed, err := openFlushed(device)
	if err != nil {
		return err
	}
	defer flushed.Close()
	return mounted(ctx, device, unix.MS_RDONLY, func(esp string) error {
		for _, f := range i.files {
			want, err := os.ReadFile(f.from)
			if err != nil {
				return err
			}
			got, err := os.ReadFile(filepath.Join(esp, f.to))
			if err != nil || !bytes.Equal(got, want) {
				return fmt.Errorf("read the new disk back: %s is not what was written", f.to)
			}
		}
		return nil
	})
}

// mounted mounts an ESP where only this process sees it (PrivateTmp=). udev may have it open for a moment.
func mounted(ctx context.Context, device string, flags uintptr, do func(dir string) error) (err error) {
	dir, err := os.MkdirTemp("", "esp")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(dir)) }()
	for try := 0; ; try++ {
		err = unix.Mount(device, dir, "vfat", flags|unix.MS_NODEV|unix.MS_NOSUID|unix.MS_NOEXEC, "umask=0077")
		if err == nil || !errors.Is(err, unix.EBUSY) || try == settleTries {
			break
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
	if err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	return errors.Join(do(dir), unix.Unmount(dir, 0))
}
