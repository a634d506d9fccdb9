//go:build e2e

package torture

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
	"breakwater/test/torture/loss"
)

// places are the interfaces that something leaves by: both ends of both links.
var places = []struct{ netns, name string }{
	{lab.Client, "eth0"}, {lab.Edge, "wan0"}, {lab.Edge, "lan0"}, {lab.Origin, "eth0"},
}

// weather is a state of the whole network.
type weather struct {
	name  string
	plain bool // packets as on a wire; else as large as TCP likes, with checksums that nobody completed
	loss  loss.Weather
	share int64 // of the size of the large streams: they take one part in so many
}

// weathers are each kind of loss, with and without large packets.
var weathers = func() (list []weather) {
	for _, w := range []weather{
		{name: "fine", share: 1},
		{name: "0.1% lost", loss: loss.Weather{Drop: 1}, share: 1},
		{name: "1% lost", loss: loss.Weather{Drop: 10}, share: 1},
		{name: "5% lost", loss: loss.Weather{Drop: 50}, share: 4},
		{name: "1% reordered", loss: loss.Weather{Reorder: 10}, share: 1},
		{name: "1% doubled", loss: loss.Weather{Duplicate: 10}, share: 1},
	} {
		plain := w
		plain.plain = true
		plain.name += ", as on a wire"
		list = append(list, w, plain)
	}
	return list
}()

// sky is the weather at every place, for a while.
type sky []*loss.Loss

// begin brings the weather until the test ends, with a document in force. Where packets are to be large there is no
// shield: the peer of a veth with a program sends no large ones (drivers/net/veth.c, veth_fix_features).
func (w weather) begin(t *testing.T, s settings.Settings) sky {
	t.Helper()
	if w.plain {
		apply(t, s)
	} else {
		allowLarge(t, s)
	}
	return w.fall(t)
}

// allowLarge puts a document in force, without the programs at both ends of the clients' cable.
func allowLarge(t *testing.T, s settings.Settings) {
	t.Helper()
	s.Shield.Mode = "off"
	apply(t, s)
	err := lab.Inside(lab.Client, func() error {
		link, err := netlink.LinkByName("eth0")
		if err == nil {
			err = netlink.LinkSetXdpFd(link, -1)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fall lets what is ordered happen to packets.
func (w weather) fall(t *testing.T) sky {
	t.Helper()
	s := make(sky, len(places))
	for i, p := range places {
		if w.plain {
			undo, err := loss.Plain(p.netns, p.name)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := undo(); err != nil {
					t.Error(err)
				}
			})
		}
		l, err := loss.Attach(p.netns, p.name, w.loss)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
		s[i] = l
	}
	return s
}

// String is what became of packets so far, at each place.
func (s sky) String() string {
	var b strings.Builder
	for i, l := range s {
		c, err := l.Counts()
		fmt.Fprintf(&b, "\n  leaving %s by %s: %v", places[i].netns, places[i].name, c)
		if err != nil {
			fmt.Fprint(&b, err)
		}
	}
	return b.String()
}

// happened expects at every place as much loss as was ordered, within five times the spread of chance, and some of it somewhere.
func (s sky) happened(t *testing.T, w weather) {
	t.Helper()
	var some loss.Counts
	for i, l := range s {
		c, err := l.Counts()
		if err != nil {
			t.Fatal(err)
		}
		some.Dropped, some.Duplicated, some.Reordered = some.Dropped+c.Dropped, some.Duplicated+c.Duplicated, some.Reordered+c.Reordered
		total := c.Passed + c.Dropped + c.Duplicated + c.Reordered
		for _, kind := range kinds(c, w) {
			want := float64(total) * float64(kind.ordered) / 1000
			if got := float64(kind.got); math.Abs(got-want) > 5*math.Sqrt(want) {
				t.Errorf("leaving %s by %s: of %d packets %d were %s, want about %.0f", places[i].netns, places[i].name, total, kind.got, kind.name, want)
			}
		}
	}
	for _, kind := range kinds(some, w) {
		if kind.ordered > 0 && kind.got == 0 {
			t.Errorf("no packet was %s anywhere", kind.name)
		}
	}
}

// kind is how many packets had one kind of bad luck, and how many of a thousand were to have it.
type kind struct {
	name    string
	got     uint64
	ordered uint32
}

func kinds(c loss.Counts, w weather) []kind {
	return []kind{{"dropped", c.Dropped, w.loss.Drop}, {"doubled", c.Duplicated, w.loss.Duplicate}, {"late", c.Reordered, w.loss.Reorder}}
}
