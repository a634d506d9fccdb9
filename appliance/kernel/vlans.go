package kernel

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"

	"breakwater/appliance/health"
)

// parentsOfVLANs are the interfaces that VLANs are on, by the names of both (net/8021q/vlanproc.c of Linux). The file is there when there are
// any.
func parentsOfVLANs() map[string]string {
	text, err := os.ReadFile("/proc/thread-self/net/vlan/config")
	if err != nil {
		return nil
	}
	return parseVLANs(string(text))
}

// parseVLANs reads "players | 5 | wan0" from each line behind two of headings.
func parseVLANs(text string) map[string]string {
	parents := make(map[string]string)
	for line := range strings.Lines(text) {
		if fields := strings.Split(line, "|"); len(fields) == 3 {
			parents[strings.TrimSpace(fields[0])] = strings.TrimSpace(fields[2])
		}
	}
	return parents
}

const tagsTaken = "vlan-tags-taken" // the code of a condition

// keepTags lets ports leave the tags of VLANs in frames where the shield looks at those of a VLAN of theirs: what a card takes off before,
// the answers to SYNs would lack. Cards that are not asked do so to spare the kernel the work.
func (k *Path) keepTags(s seats) {
	wanted := make(map[string]error)
	for _, v := range s.vlans {
		if name := s.at[v.below]; name != "" {
			wanted[name] = leaveTags(name)
		}
	}
	for name, err := range wanted {
		if err == nil {
			k.options.Conditions.Clear(tagsTaken, name)
			continue
		}
		k.options.Conditions.Raise(health.Condition{
			Code: tagsTaken, Subject: name, Severity: health.Warning, Title: "SYN cookies may not reach the clients in VLANs of " + name,
			Detail: "The network card takes the tags of VLANs off and cannot be told to leave them: " + err.Error() + ". In a flood of SYNs the answers to clients in " +
				"these VLANs go out without a tag. Take either the port or its VLANs out of edge.interfaces: a VLAN alone has a filter of its own.",
		})
	}
	for name := range k.shield.tagged {
		if _, still := wanted[name]; !still {
			k.options.Conditions.Clear(tagsTaken, name)
		}
	}
	k.shield.tagged = wanted
}

// flagTakesTags is ETH_FLAG_RXVLAN of linux/ethtool.h.
const flagTakesTags = 1 << 8

// leaveTags turns the offload off that takes the tags of VLANs from frames that come in.
func leaveTags(name string) error {
	flags, err := ethtool(name, unix.ETHTOOL_GFLAGS, 0)
	if err != nil || flags&flagTakesTags == 0 {
		return nil //nolint:nilerr // who knows no such flags takes nothing
	}
	if _, err := ethtool(name, unix.ETHTOOL_SFLAGS, flags&^flagTakesTags); err != nil {
		return fmt.Errorf("turn off rx-vlan-offload of %s: %w", name, err)
	}
	return nil
}

// ethtool is SIOCETHTOOL with struct ethtool_value (linux/ethtool.h). It returns the value that is there then. The errors are those of
// ioctl(2).
func ethtool(name string, command, value uint32) (uint32, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
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
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request))) //nolint:gosec // as ioctl(2) wants it
	runtime.KeepAlive(&content)
	if errno != 0 {
		return 0, errno
	}
	return content.value, nil
}
