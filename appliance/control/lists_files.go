package control

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"breakwater/appliance/health"
	"breakwater/appliance/lists"
	"breakwater/appliance/whole"
)

// takeList checks a list while it comes, and puts it in place of the former one.
func (k *listKeeper) takeList(name, from string, body io.Reader) (ListFile, error) {
	k.taking.Lock()
	defer k.taking.Unlock()
	f := ListFile{Name: name, URL: from}
	part, size, err := k.receive(body, lists.MaxSize)
	if err != nil {
		return f, k.refuse(k.lists, k.Dir, f, err)
	}
	defer part.Discard()
	entries, err := readList(part.Name())
	if err != nil {
		return f, k.refuse(k.lists, k.Dir, f, err)
	}
	f.Entries, f.Size = len(entries), size
	return f, k.accept(k.lists, k.Dir, &f, part, ".list")
}

func readList(path string) (entries []prefix, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return lists.Parse(file)
}

// takeGeo does the same with a file about countries or networks. only is what it must be about; empty: whatever it says.
func (k *listKeeper) takeGeo(only, from string, body io.Reader) ([]ListFile, error) {
	k.taking.Lock()
	defer k.taking.Unlock()
	dir := filepath.Join(k.Dir, "geo")
	refuse := func(err error) error {
		if only == "" {
			return unusable(err)
		}
		return k.refuse(k.geo, dir, ListFile{Name: only, URL: from}, err)
	}
	part, size, err := k.receive(body, lists.MaxGeo)
	if err != nil {
		return nil, refuse(err)
	}
	defer part.Discard()
	g, err := lists.OpenGeo(part.Name())
	if err != nil {
		return nil, refuse(err)
	}
	about := ListFile{URL: from, Size: size, Type: g.Type, Licence: g.Description, Built: g.Built}
	counts := map[string]int{geoCountries: g.Countries, geoNetworks: g.Networks}
	if err := g.Close(); err != nil {
		return nil, err
	}
	var taken []ListFile
	for _, name := range []string{geoCountries, geoNetworks} {
		if counts[name] == 0 || only != "" && only != name {
			continue
		}
		f := about
		f.Name, f.Entries = name, counts[name]
		if err := k.accept(k.geo, dir, &f, part, ".mmdb"); err != nil {
			return nil, err
		}
		taken = append(taken, f)
	}
	if len(taken) == 0 {
		return nil, refuse(fmt.Errorf("the file says nothing about %s", only))
	}
	return taken, nil
}

// receive writes what comes to the disk, unpacked.
func (k *listKeeper) receive(body io.Reader, most int64) (part *whole.File, size int64, err error) {
	if k.Dir == "" {
		return nil, 0, ErrNoLists
	}
	in, err := unpacked(body)
	if err != nil {
		return nil, 0, err
	}
	if part, err = whole.Create(k.Dir); err != nil {
		return nil, 0, err
	}
	size, err = io.Copy(part, io.LimitReader(in, most+1))
	if err == nil && size > most {
		err = fmt.Errorf("the file is too large: at most %d MiB are taken", most>>20)
	}
	if err = errors.Join(err, part.Finish()); err != nil {
		if errors.Is(err, syscall.ENOSPC) {
			err = fmt.Errorf("%w: %w", ErrNoSpace, err)
		}
		part.Discard()
		return nil, 0, err
	}
	return part, size, nil
}

// unpacked reads gzip as what is in it: publishers of large files pack them (RFC 1952).
func unpacked(body io.Reader) (io.Reader, error) {
	in := bufio.NewReader(body)
	if head, err := in.Peek(2); err != nil || head[0] != 0x1f || head[1] != 0x8b {
		return in, nil // too short is for whoever reads it to say
	}
	return gzip.NewReader(in)
}

// accept puts a file that was checked in place of the former one. A file can be accepted for countries, and again for networks.
func (k *listKeeper) accept(all map[string]ListFile, dir string, f *ListFile, part *whole.File, ending string) error {
	if err := part.KeepCopy(filepath.Join(dir, f.Name+ending)); err != nil {
		return err
	}
	f.Loaded = k.c.now().UTC()
	f.Tried = f.Loaded
	k.mu.Lock()
	all[f.Name] = *f
	k.version++
	k.mu.Unlock()
	k.c.log.Info("took a list", "name", f.Name, "entries", f.Entries, "url", f.URL)
	k.c.conditions.Clear(listFailed, f.Name)
	defer wake(k.look)
	return k.keep(dir, *f)
}

// refuse remembers why a file was not taken. The former one stays.
func (k *listKeeper) refuse(all map[string]ListFile, dir string, f ListFile, err error) error {
	refusal := unusable(err)
	k.mu.Lock()
	old := all[f.Name]
	old.Name, old.URL, old.Tried, old.Error = f.Name, f.URL, k.c.now().UTC(), sentence(err)
	old.Broken, old.Lines = refusal.Broken, refusal.Lines
	all[f.Name] = old
	k.mu.Unlock()
	k.c.log.Warn("a list was not taken", "name", f.Name, "url", f.URL, "err", err)
	if f.URL != "" {
		k.tellFailed(old)
	}
	if err := k.keep(dir, old); err != nil {
		k.c.log.Error("remember why a list was not taken", "name", f.Name, "err", err)
	}
	return refusal
}

func unusable(err error) *ListUnusable {
	refusal := &ListUnusable{Err: err}
	if broken, ok := errors.AsType[*lists.Unusable](err); ok {
		refusal.Broken, refusal.Lines = broken.Lines, broken.Count
	}
	return refusal
}

const listFailed = "list-failed"

func (k *listKeeper) tellFailed(f ListFile) {
	stays := "There is no older one, so its rules have no effect"
	if !f.Loaded.IsZero() {
		stays = "The one of " + f.Loaded.Format("2006-01-02 15:04") + " stays"
	}
	k.c.conditions.Raise(health.Condition{Code: listFailed, Subject: f.Name, Severity: health.Warning, Title: "The list " + f.Name + " could not be fetched",
		Detail: f.Error + ". " + stays + ". It is tried again within the hour; check its URL in the settings."})
}

// keep writes what is known of a file beside it.
func (k *listKeeper) keep(dir string, f ListFile) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return whole.Write(filepath.Join(dir, f.Name+".json"), data, 0o600)
}
