package loss

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Late is how long a packet stays on its detour: some hundred packets may overtake it.
const Late = 2 * time.Millisecond

// maxFrame is a GSO packet of 64 KiB with its Ethernet and virtio_net_hdr.
const maxFrame = 1<<16 + 64

// offloads keep GSO packets and unfinished checksums as they are (linux/if_tun.h): what comes back is what left.
const offloads = unix.TUN_F_CSUM | unix.TUN_F_TSO4 | unix.TUN_F_TSO6 | unix.TUN_F_TSO_ECN | unix.TUN_F_USO4 | unix.TUN_F_USO6

// detour is a TAP device of which we are the wire. No queueing discipline that delays is in every kernel.
type detour struct {
	index int
	wire  *os.File

	travelling sync.WaitGroup // the reader, and the packets on their way
	mu         sync.Mutex
	failed     error // the first
}

// newDetour makes the device in the network namespace of the calling thread. It is gone after close.
func newDetour(name string) (*detour, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/net/tun: %w", err)
	}
	d := new(detour)
	err = d.setUp(fd, name)
	d.wire = os.NewFile(uintptr(fd), name) // which can be waited for only now
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make the detour %s: %w", name, err), d.wire.Close())
	}
	d.travelling.Go(d.run)
	return d, nil
}

func (d *detour) setUp(fd int, name string) error {
	request, err := unix.NewIfreq(name)
	if err != nil {
		return err
	}
	request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI | unix.IFF_VNET_HDR)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
		return err
	}
	if err := unix.IoctlSetInt(fd, unix.TUNSETOFFLOAD, offloads); err != nil {
		return fmt.Errorf("set its offloads: %w", err)
	}
	// Nothing but what is sent here may travel.
	quiet := filepath.Join("/proc/sys/net/ipv6/conf", name, "disable_ipv6")
	if err := os.WriteFile(quiet, []byte("1"), 0); err != nil && !os.IsNotExist(err) {
		return err
	}
	device, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	d.index = device.Attrs().Index
	return netlink.LinkSetUp(device)
}

// run sends what comes in back, Late later, until the device is closed.
func (d *detour) run() {
	buf := make([]byte, maxFrame)
	for {
		n, err := d.wire.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				d.fail(fmt.Errorf("read from the detour: %w", err))
			}
			return
		}
		frame := append([]byte(nil), buf[:n]...)
		d.travelling.Go(func() { d.travel(frame) })
	}
}

func (d *detour) travel(frame []byte) {
	time.Sleep(Late)
	if _, err := d.wire.Write(frame); err != nil && !errors.Is(err, os.ErrClosed) {
		d.fail(fmt.Errorf("send a late packet of %d bytes: %w", len(frame), err))
	}
}

func (d *detour) fail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.failed == nil {
		d.failed = err
	}
}

func (d *detour) close() error {
	err := d.wire.Close()
	d.travelling.Wait()
	return errors.Join(err, d.failed)
}
