//go:build e2e

package kernel

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/vishvananda/netlink"
)

// TestInterfacesThatAreGone: an interface that is made anew has another index each time; nothing of the former ones stays, or there is no
// room at last.
func TestInterfacesThatAreGone(t *testing.T) {
	r := newRig(t, withInterfaces("edge0"))
	for range 3 {
		var index int
		r.must(t, func() (err error) {
			index, err = addInterface("edge1")
			return err
		})
		r.apply(t, withInterfaces("edge0", "edge1"))
		pin := filepath.Join(r.path.objects.dir, linksDir, strconv.Itoa(index))
		if _, err := os.Stat(pin); err != nil {
			t.Fatal(err)
		}
		r.must(t, func() error {
			link, err := netlink.LinkByName("edge1")
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		})
		r.must(t, r.path.reattach)
		var entry bpfInterface
		if err := r.path.objects.Interfaces.Lookup(uint32(index), &entry); !errors.Is(err, ebpf.ErrKeyNotExist) {
			t.Errorf("interface %d is entered as %+v, %v", index, entry, err)
		}
		if _, err := os.Stat(pin); !os.IsNotExist(err) || r.path.links[index] != nil {
			t.Errorf("the program at interface %d is still there: %v, %v", index, err, r.path.links[index])
		}
	}
	if err := r.path.objects.Interfaces.Lookup(uint32(r.edge), &bpfInterface{}); err != nil {
		t.Errorf("the other interface: %v", err)
	}
}
