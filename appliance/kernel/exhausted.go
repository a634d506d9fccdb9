package kernel

import (
	"errors"
	"fmt"
	"time"

	"breakwater/appliance/health"
)

// exhausted are the causes for which the program leaves clients to the user path that an operator should know of, besides the
// lack of source ports, which each origin has of its own (portless.go).
var exhausted = []struct {
	cause         uint32 // LEFT_* of bpf/layout.h
	code          string
	title, detail string
}{
	{9, "kernel-path-full", "The kernel path is full",
		"It has as many sessions as the memory of this box is good for, so the user path carries what is new. Ban what does not belong here, or use a box with more memory."},
	{11, "kernel-path-half-open", "More connections are begun than clients finish",
		"This is what a flood of SYNs looks like. New connections go by the user path, whose SYN cookies keep the place for real players; those that are open are not touched."},
}

// overAfter is how long it must not have happened again.
const overAfter = time.Minute

// exhaustion is what was seen of one cause.
type exhaustion struct {
	count uint64
	last  time.Time // of a rise; zero: never
}

// tellExhausted raises a condition for each cause that has grown, and clears it when that is a while ago. k.mu is held.
func (k *Path) tellExhausted(now time.Time) (err error) {
	for i, e := range exhausted {
		n, failed := sum(k.objects.Left, e.cause)
		if failed != nil {
			err = errors.Join(err, failed)
			continue
		}
		seen := &k.exhaustions[i]
		rise := n - seen.count
		seen.count = n
		switch {
		case rise > 0:
			seen.last = now
			k.options.Conditions.Raise(health.Condition{
				Code: e.code, Severity: health.Warning, Title: e.title, Detail: fmt.Sprintf("%d packets in the last seconds. %s", rise, e.detail),
			})
		case !seen.last.IsZero() && now.Sub(seen.last) >= overAfter:
			seen.last = time.Time{}
			k.options.Conditions.Clear(e.code, "")
		}
	}
	return errors.Join(err, k.tellPortless(now))
}
