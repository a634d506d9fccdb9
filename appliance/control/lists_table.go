package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/lists"
	"breakwater/appliance/settings"
	"breakwater/appliance/store"
)

type prefix = netip.Prefix

const (
	listExpired    = "list-expired"
	listMissing    = "list-missing"
	geoUnknown     = "geo-unknown"
	listsRefused   = "lists-refused"
	maxPushBackoff = 30 * time.Second
	pruneEvery     = 10 * time.Minute
)

func (k *listKeeper) geoDir() string { return filepath.Join(k.Dir, "geo") }

// keepTable makes the table of lists anew when settings or files change, or a list expires, and brings edge on it.
func (k *listKeeper) keepTable(ctx context.Context) {
	if k.Dir == "" {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var made tableMade
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.look:
		}
		k.keepOnce(ctx, &made)
	}
}

// tableMade is the table that edge should have.
type tableMade struct {
	of      string // what it was made of
	encoded []byte
	print   string
	wait    time.Duration // until it is pushed again
	notYet  time.Time
	pruned  time.Time // when files that nothing needs were removed last
}

func (k *listKeeper) keepOnce(ctx context.Context, made *tableMade) {
	shield, err := k.inForce()
	if err != nil {
		k.c.log.Error("read the lists of the settings", "err", err)
		return
	}
	use := k.usable(shield)
	if of := k.describe(shield, use); of != made.of {
		table := k.table(shield, use)
		*made = tableMade{of: of, encoded: table.Encode()}
		if !table.Empty() {
			made.print = lists.Fingerprint(made.encoded)
		}
		k.mu.Lock()
		k.used = use
		k.mu.Unlock()
		made.pruned = time.Time{}
	}
	k.push(ctx, made)
	// A change that is confirmed and a revision that is forgotten make no other table.
	if now := time.Now(); now.Sub(made.pruned) >= pruneEvery {
		made.pruned = now
		if err := k.prune(); err != nil && !errors.Is(err, store.ErrNotFound) { // without settings nothing is known to be of no use
			k.c.log.Error("remove the files of former lists", "err", err)
		}
	}
}

// push gives edge the table unless it has it, with growing pauses while that does not help.
func (k *listKeeper) push(ctx context.Context, made *tableMade) {
	k.mu.Lock()
	done := !k.known || k.seen == made.print
	k.mu.Unlock()
	if done || time.Now().Before(made.notYet) {
		return
	}
	made.wait = min(max(2*made.wait, time.Second), maxPushBackoff)
	made.notYet = time.Now().Add(made.wait)
	if err := k.c.edge.SetLists(ctx, made.encoded); err != nil {
		if ctx.Err() == nil {
			k.refused(err)
		}
		return
	}
	k.c.conditions.Clear(listsRefused, "")
	k.mu.Lock()
	k.seen = made.print
	k.mu.Unlock()
}

func (k *listKeeper) refused(err error) {
	k.c.conditions.Raise(health.Condition{Code: listsRefused, Severity: health.Warning, Title: "The data plane does not have the current lists",
		Detail: sentence(err) + ". It keeps those that it has, and it is tried again every 30 seconds."})
}

// describe is what a table is made of, as text.
func (k *listKeeper) describe(shield settings.Shield, use map[string]bool) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	text, err := json.Marshal([]any{shield.Lists, shield.Countries, shield.Networks, use, k.version})
	if err != nil {
		return err.Error() // text, numbers and names have a JSON form
	}
	return string(text)
}

// usable are the files that there are and that are not too old. Conditions tell of the others.
func (k *listKeeper) usable(shield settings.Shield) map[string]bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	use := map[string]bool{}
	named := map[string]bool{}
	for _, l := range shield.Lists {
		named[l.Name] = true
		f := k.lists[l.Name]
		expires := f.Loaded.Add(time.Duration(l.Expiry))
		missing := f.Loaded.IsZero()
		expired := !missing && l.URL != "" && !k.c.now().Before(expires)
		use[l.Name] = !missing && !expired
		k.tell(missing && l.URL == "", listMissing, l.Name, "The list "+l.Name+" has no entries yet",
			"The settings name it without a URL, so its rules have no effect until it is uploaded.")
		k.tell(expired, listExpired, l.Name, "The list "+l.Name+" is too old and not used any more",
			fmt.Sprintf("It came last at %s, and the settings let it be used for %s. It is used again once it can be fetched from %s.",
				f.Loaded.Format(time.DateTime), l.Expiry, l.URL))
	}
	for _, c := range k.c.conditions.List() {
		if slices.Contains([]string{listMissing, listExpired, listFailed}, c.Code) && !named[c.Subject] && c.Subject != geoCountries && c.Subject != geoNetworks {
			k.c.conditions.Clear(c.Code, c.Subject)
		}
	}
	c, n := shield.Countries, shield.Networks
	use["geo/"+geoCountries] = k.usableGeo(geoCountries, len(c.Deny)+len(c.Allow) > 0, "country")
	use["geo/"+geoNetworks] = k.usableGeo(geoNetworks, len(n.Deny)+len(n.Allow) > 0, "AS number")
	return use
}

func (k *listKeeper) usableGeo(name string, wanted bool, what string) bool {
	there := !k.geo[name].Loaded.IsZero()
	k.tell(wanted && !there, geoUnknown, name, "Rules about "+name+" do not apply",
		"There is no file that says which "+what+" addresses have, so nobody is turned away for it. Upload one, or name its URL in the settings.")
	return wanted && there
}

func (k *listKeeper) tell(is bool, code, subject, title, detail string) {
	if !is {
		k.c.conditions.Clear(code, subject)
		return
	}
	k.c.conditions.Raise(health.Condition{Code: code, Subject: subject, Severity: health.Warning, Title: title, Detail: detail})
}

// table makes the table of what can be used: countries, then networks, the lists that deny, and over all those that allow.
func (k *listKeeper) table(shield settings.Shield, use map[string]bool) *lists.Table {
	k.taking.Lock() // files stay as they are
	defer k.taking.Unlock()
	b := lists.NewBuilder()
	for _, part := range []struct {
		name string
		add  func(*lists.Builder, *lists.Geo, settings.Shield) error
	}{{geoCountries, addCountries}, {geoNetworks, addNetworks}} {
		if use["geo/"+part.name] {
			k.addGeo(b, part.name, shield, part.add)
		}
	}
	for _, action := range []string{"deny", "allow"} {
		for _, l := range slices.Backward(shield.Lists) { // the first of them on top
			if l.Action != action || !use[l.Name] {
				continue
			}
			entries, err := readList(filepath.Join(k.Dir, l.Name+".list"))
			if err != nil {
				k.lost(k.lists, l.Name, err)
				continue
			}
			b.Layer(lists.Entries(entries, b.Class(lists.Class{Kind: lists.KindList, Name: l.Name, Pass: action == "allow"})))
		}
	}
	return b.Table()
}

// addGeo adds what a file says. One that has become unreadable is as if there were none, and a condition says so.
func (k *listKeeper) addGeo(b *lists.Builder, name string, shield settings.Shield, add func(*lists.Builder, *lists.Geo, settings.Shield) error) {
	g, err := lists.OpenGeo(filepath.Join(k.geoDir(), name+".mmdb"))
	if err == nil {
		defer g.Close()
		err = add(b, g, shield)
	}
	if err != nil {
		k.lost(k.geo, name, err)
	}
}

// lost makes a file that has become unreadable one that is not there: the others stay in force, and it is fetched again or asked for.
func (k *listKeeper) lost(all map[string]ListFile, name string, err error) {
	k.c.log.Error("read a file about addresses", "name", name, "err", err)
	k.mu.Lock()
	defer k.mu.Unlock()
	f := all[name]
	f.Loaded, f.Error = time.Time{}, sentence(err)
	all[name] = f
}

// home are networks whose addresses no file knows: what comes from there is not from another country.
var home = []string{"10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "::/8", "fc00::/7", "fe80::/10"}

// addCountries reads all before it adds anything: half of a file must not turn everybody away.
func addCountries(b *lists.Builder, g *lists.Geo, shield settings.Shield) error {
	rules := shield.Countries
	classes := map[string]uint8{}
	for _, code := range rules.Allow {
		classes[code] = b.Exempt()
	}
	for _, code := range rules.Deny {
		classes[code] = b.Class(lists.Class{Kind: lists.KindCountry, Name: code})
	}
	entries, err := g.OfCountries(func(code string) uint8 { return classes[code] })
	if err != nil {
		return err
	}
	if len(rules.Allow) > 0 {
		others := b.Class(lists.Class{Kind: lists.KindCountry, Name: "others"})
		all := lists.Entries([]prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}, others)
		for _, p := range home {
			all = append(all, lists.Entry{Prefix: netip.MustParsePrefix(p), Class: b.Exempt()})
		}
		b.Layer(all)
	}
	b.Layer(entries)
	return nil
}

func addNetworks(b *lists.Builder, g *lists.Geo, shield settings.Shield) error {
	classes := map[uint32]uint8{}
	for _, asn := range shield.Networks.Allow {
		classes[uint32(asn)] = b.Exempt() //nolint:gosec // Validate bounds it
	}
	for _, asn := range shield.Networks.Deny {
		classes[uint32(asn)] = b.Class(lists.Class{Kind: lists.KindNetwork, Name: fmt.Sprintf("AS%d", asn)}) //nolint:gosec // as above
	}
	entries, err := g.OfNetworks(func(asn uint32) uint8 { return classes[asn] })
	if err != nil {
		return err
	}
	b.Layer(entries)
	return nil
}
