package lab

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ethtool is SIOCETHTOOL with struct ethtool_value (linux/ethtool.h), for an interface of the caller's network namespace. It returns
// the value that is there then. The errors are those of ioctl(2).
func Ethtool(name string, command, value uint32) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("ask about %s: %w", name, err)
	}
	defer unix.Close(fd) //nolint:errcheck // nothing was written
	content := struct{ command, value uint32 }{command, value}
	var request struct { // struct ifreq with ifr_data
		name [unix.IFNAMSIZ]byte
		data unsafe.Pointer
		_    [16]byte
	}
	copy(request.name[:unix.IFNAMSIZ-1], name)
	request.data = unsafe.Pointer(&content)
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
	runtime.KeepAlive(&content)
	if errno != 0 {
		return 0, errno
	}
	return content.value, nil
}
