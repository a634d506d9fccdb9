//go:build e2e

package kernel

import (
	"errors"
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLeaveTags: a port that takes tags off is told to leave them.
func TestLeaveTags(t *testing.T) {
	r := newRig(t, shieldPlan())
	r.must(t, func() error {
		flags, err := ethtool("edge0", unix.ETHTOOL_GFLAGS, 0)
		if err != nil || flags&flagTakesTags == 0 {
			t.Fatalf("a veth takes no tags off: %x, %v", flags, err)
		}
		for range 2 {
			if err := leaveTags("edge0"); err != nil {
				t.Error(err)
			}
			if now, err := ethtool("edge0", unix.ETHTOOL_GFLAGS, 0); err != nil || now != flags&^flagTakesTags {
				t.Errorf("the flags are %x, %v, want %x without %x", now, err, flags, flagTakesTags)
			}
		}
		return errors.Join(leaveTags("lo"), leaveTags("missing0"))
	})
}

// withoutAdmin calls something that may not change interfaces. It runs on one thread.
func withoutAdmin(call func()) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	if err := unix.Capget(&header, &caps[0]); err != nil {
		return err
	}
	less := caps
	less[0].Effective &^= 1 << unix.CAP_NET_ADMIN
	if err := unix.Capset(&header, &less[0]); err != nil {
		return err
	}
	call()
	return unix.Capset(&header, &caps[0])
}

// TestTagsTaken: a port that cannot leave tags in frames is named, as long as a VLAN on it has no place for the shield but there.
func TestTagsTaken(t *testing.T) {
	r := newRig(t, shieldPlan())
	both := seats{at: map[int]string{r.edge: "edge0"}, vlans: map[int]seat{99: {"players", r.edge}}}
	for _, step := range []struct {
		s       seats
		refused bool
		want    string
	}{
		{both, true, "[vlan-tags-taken edge0]"},
		{seats{at: both.at}, true, "[]"},
		{both, true, "[vlan-tags-taken edge0]"},
		{both, false, "[]"},
		{both, true, "[]"}, // it leaves them by now
	} {
		r.must(t, func() error {
			if !step.refused {
				r.path.keepTags(step.s)
				return nil
			}
			return withoutAdmin(func() { r.path.keepTags(step.s) })
		})
		got := []string{}
		for _, c := range r.conditions.List() {
			got = append(got, c.Code+" "+c.Subject)
		}
		if fmt.Sprint(got) != step.want {
			t.Errorf("the conditions are %v, want %s", got, step.want)
		}
	}
}
