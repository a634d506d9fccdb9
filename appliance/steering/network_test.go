package steering

import (
	"net"
	"testing"
	"unsafe"
)

// TestInterfaces compares with what the standard library sees of this machine.
func TestInterfaces(t *testing.T) {
	got, err := Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	want, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]net.Interface{}
	for _, i := range want {
		if i.Flags&net.FlagLoopback == 0 {
			seen[i.Name] = i
		}
	}
	for _, i := range got {
		w, ok := seen[i.Name]
		addresses, _ := w.Addrs()
		if !ok || i.MAC != w.HardwareAddr.String() || i.Up != (w.Flags&net.FlagUp != 0) || i.Running != (w.Flags&net.FlagRunning != 0) || len(i.Addresses) != len(addresses) || i.Speed < 0 {
			t.Errorf("got %+v, want %+v with %v", i, w, addresses)
		}
		delete(seen, i.Name)
	}
	if len(seen) > 0 {
		t.Errorf("%v are missing", seen)
	}
}

// TestSizeOfSettings: the kernel writes as much as it likes.
func TestSizeOfSettings(t *testing.T) {
	if size := unsafe.Sizeof(ethtoolSettings{}); size != 44 {
		t.Errorf("struct ethtool_cmd has 44 bytes, ours %d", size)
	}
	if at := unsafe.Offsetof(ethtoolSettings{}.speedHigh); at != 28 {
		t.Errorf("speed_hi is at byte 28, ours at %d", at)
	}
}
