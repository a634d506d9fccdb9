package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"breakwater/appliance/lists"
	"breakwater/appliance/settings"
	"breakwater/appliance/whole"
)

// ListOptions are where lists, and files about countries and networks, are kept, and how they are fetched.
type ListOptions struct {
	Dir string // empty: none are kept
	// Dial reaches the server of a URL; nil: any but this box itself and what is next to it.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// ListFile is what is known of a list, or of a file about countries or networks. Its file is the last good one.
type ListFile struct {
	Name    string    `json:"name"`           // of a list; countries, networks
	URL     string    `json:"url"`            // where it comes from; empty: it is uploaded
	Loaded  time.Time `json:"loaded"`         // when the file came; zero: there is none
	Tried   time.Time `json:"tried"`          // when the URL was asked last
	Error   string    `json:"error"`          // why what came last was not taken
	Entries int       `json:"entries"`        // prefixes of a list, networks of a file that have what it is for
	Size    int64     `json:"size"`           // bytes
	InUse   bool      `json:"inUse"`          // it is part of the table that edge should have
	Expires time.Time `json:"expires"`        // when it is not used any more unless it is fetched again; zero: never
	Broken  []Broken  `json:"broken"`         // the first broken lines of what came last
	Lines   int       `json:"brokenLines"`    // how many of those there are
	Type    string    `json:"type,omitempty"` // of a file about countries or networks, as it calls itself
	Licence string    `json:"licence,omitempty"`
	Built   time.Time `json:"built,omitzero"` // by its publisher
}

// Broken is a line of a list that is no entry.
type Broken = lists.Broken

// The names of the files that are no lists. No list can be called like this, as both have their own directory.
const (
	geoCountries = "countries"
	geoNetworks  = "networks"
)

// ErrNoLists means that this process keeps no files.
var ErrNoLists = errors.New("lists are not kept here")

// ListUnusable is a list, or a file about countries or networks, that was not taken. What was there before stays.
type ListUnusable struct {
	Err    error
	Broken []Broken
	Lines  int // how many broken ones there are
}

func (e *ListUnusable) Error() string { return e.Err.Error() }
func (e *ListUnusable) Unwrap() error { return e.Err }

// listKeeper keeps the files, fetches them, and brings edge on the table that they make.
type listKeeper struct {
	ListOptions
	c *Control

	taking sync.Mutex // one file at a time; taken before mu

	mu      sync.Mutex
	lists   map[string]ListFile
	geo     map[string]ListFile
	version uint64 // of the files: it counts what was taken
	used    map[string]bool
	seen    string // what edge has
	known   bool   // edge has said so

	look chan struct{} // the table may be another
	ask  chan struct{} // there may be something to fetch
}

func newListKeeper(c *Control, o ListOptions) *listKeeper {
	k := &listKeeper{ListOptions: o, c: c, lists: map[string]ListFile{}, geo: map[string]ListFile{}, used: map[string]bool{},
		look: make(chan struct{}, 1), ask: make(chan struct{}, 1)}
	if o.Dir == "" {
		return k
	}
	if err := os.MkdirAll(filepath.Join(o.Dir, "geo"), 0o700); err != nil {
		c.log.Error("make the directory of lists", "err", err)
	}
	for dir, into := range map[string]map[string]ListFile{o.Dir: k.lists, filepath.Join(o.Dir, "geo"): k.geo} {
		if err := whole.RemoveUnfinished(dir); err != nil {
			c.log.Error("remove unfinished files of lists", "err", err)
		}
		k.load(dir, into)
	}
	return k
}

// load reads what the last process knew. A file that cannot be read is as none: the next fetch or upload makes it anew.
func (k *listKeeper) load(dir string, into map[string]ListFile) {
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return // the pattern is fine
	}
	for _, name := range names {
		var f ListFile
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, &f)
		}
		if err != nil {
			k.c.log.Warn("read what is known of a list", "file", name, "err", err)
			continue
		}
		into[f.Name] = f
	}
}

// observe hears which table edge has.
func (k *listKeeper) observe(print string) {
	k.mu.Lock()
	changed := !k.known || k.seen != print
	k.seen, k.known = print, true
	k.mu.Unlock()
	if changed {
		wake(k.look)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default: // it is going to look anyway
	}
}

// inForce are the rules of the settings that edge should run, a candidate's as well.
func (k *listKeeper) inForce() (settings.Shield, error) {
	k.c.mu.Lock()
	defer k.c.mu.Unlock()
	document, err := k.c.documentInForce()
	if err != nil {
		return settings.Shield{}, err
	}
	return decodeStored(document).WithDefaults().Shield, nil
}

// Lists tells those of the settings in force, and the files about countries and networks.
func (c *Control) Lists() (all, geo []ListFile, err error) {
	shield, err := c.lists.inForce()
	if err != nil {
		return nil, nil, err
	}
	c.lists.mu.Lock()
	defer c.lists.mu.Unlock()
	all, geo = []ListFile{}, []ListFile{}
	for _, l := range shield.Lists {
		f := c.lists.lists[l.Name]
		f.Name, f.URL, f.InUse = l.Name, l.URL, c.lists.used[l.Name]
		if l.URL != "" && !f.Loaded.IsZero() {
			f.Expires = f.Loaded.Add(time.Duration(l.Expiry))
		}
		all = append(all, f.shown())
	}
	for name, url := range map[string]string{geoCountries: shield.Countries.URL, geoNetworks: shield.Networks.URL} {
		f := c.lists.geo[name]
		f.Name, f.URL, f.InUse = name, url, c.lists.used["geo/"+name]
		geo = append(geo, f.shown())
	}
	if geo[0].Name > geo[1].Name {
		geo[0], geo[1] = geo[1], geo[0]
	}
	return all, geo, nil
}

func (f ListFile) shown() ListFile {
	if f.Broken == nil {
		f.Broken = []Broken{}
	}
	return f
}

// TakeList makes what body holds the list of this name, which the settings in force must have, without a URL. The errors are
// ErrNotFound, *ListUnusable and those of the disk; after each the former list stays.
func (c *Control) TakeList(name string, body io.Reader) (ListFile, error) {
	shield, err := c.lists.inForce()
	if err != nil {
		return ListFile{}, err
	}
	for _, l := range shield.Lists {
		if l.Name != name {
			continue
		}
		if l.URL != "" {
			return ListFile{}, &ListUnusable{Err: fmt.Errorf("the list %s is fetched from %s; take its URL out of the settings to upload it", name, l.URL)}
		}
		return c.lists.takeList(name, "", body)
	}
	return ListFile{}, ErrNotFound
}

// TakeGeo makes what body holds the file about countries, about networks, or both, whatever it says. The errors are those of
// TakeList.
func (c *Control) TakeGeo(body io.Reader) ([]ListFile, error) {
	return c.lists.takeGeo("", "", body)
}
