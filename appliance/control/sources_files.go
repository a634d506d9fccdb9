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
func (s *sources) takeList(name, from string, body io.Reader) (SourceFile, error) {
	s.taking.Lock()
	defer s.taking.Unlock()
	f := SourceFile{Name: name, URL: from}
	part, size, err := s.receive(body, lists.MaxSize)
	if err != nil {
		return f, s.refuse(s.lists, s.Dir, f, err)
	}
	defer part.Discard()
	entries, err := readList(part.Name())
	if err != nil {
		return f, s.refuse(s.lists, s.Dir, f, err)
	}
	f.Entries, f.Size = len(entries), size
	return f, s.accept(s.lists, s.Dir, &f, part, ".list")
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
func (s *sources) takeGeo(only, from string, body io.Reader) ([]SourceFile, error) {
	s.taking.Lock()
	defer s.taking.Unlock()
	dir := filepath.Join(s.Dir, "geo")
	refuse := func(err error) error {
		if only == "" {
			return unusable(err)
		}
		return s.refuse(s.geo, dir, SourceFile{Name: only, URL: from}, err)
	}
	part, size, err := s.receive(body, lists.MaxGeo)
	if err != nil {
		return nil, refuse(err)
	}
	defer part.Discard()
	g, err := lists.OpenGeo(part.Name())
	if err != nil {
		return nil, refuse(err)
	}
	about := SourceFile{URL: from, Size: size, Type: g.Type, Licence: g.Description, Built: g.Built}
	counts := map[string]int{geoCountries: g.Countries, geoNetworks: g.Networks}
	if err := g.Close(); err != nil {
		return nil, err
	}
	var taken []SourceFile
	for _, name := range []string{geoCountries, geoNetworks} {
		if counts[name] == 0 || only != "" && only != name {
			continue
		}
		f := about
		f.Name, f.Entries = name, counts[name]
		if err := s.accept(s.geo, dir, &f, part, ".mmdb"); err != nil {
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
func (s *sources) receive(body io.Reader, most int64) (part *whole.File, size int64, err error) {
	if s.Dir == "" {
		return nil, 0, ErrNoSources
	}
	in, err := unpacked(body)
	if err != nil {
		return nil, 0, err
	}
	if part, err = whole.Create(s.Dir); err != nil {
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
func (s *sources) accept(all map[string]SourceFile, dir string, f *SourceFile, part *whole.File, ending string) error {
	if err := part.KeepCopy(filepath.Join(dir, f.Name+ending)); err != nil {
		return err
	}
	f.Loaded = s.c.now().UTC()
	f.Tried = f.Loaded
	s.mu.Lock()
	all[f.Name] = *f
	s.version++
	s.mu.Unlock()
	s.c.log.Info("took a list", "name", f.Name, "entries", f.Entries, "url", f.URL)
	s.c.conditions.Clear(sourceFailed, f.Name)
	defer wake(s.look)
	return s.keep(dir, *f)
}

// refuse remembers why a file was not taken. The former one stays.
func (s *sources) refuse(all map[string]SourceFile, dir string, f SourceFile, err error) error {
	refusal := unusable(err)
	s.mu.Lock()
	old := all[f.Name]
	old.Name, old.URL, old.Tried, old.Error = f.Name, f.URL, s.c.now().UTC(), sentence(err)
	old.Broken, old.Lines = refusal.Broken, refusal.Lines
	all[f.Name] = old
	s.mu.Unlock()
	s.c.log.Warn("a list was not taken", "name", f.Name, "url", f.URL, "err", err)
	if f.URL != "" {
		s.tellFailed(old)
	}
	if err := s.keep(dir, old); err != nil {
		s.c.log.Error("remember why a list was not taken", "name", f.Name, "err", err)
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

const sourceFailed = "list-failed"

func (s *sources) tellFailed(f SourceFile) {
	stays := "There is no older one, so its rules have no effect"
	if !f.Loaded.IsZero() {
		stays = "The one of " + f.Loaded.Format("2006-01-02 15:04") + " stays"
	}
	s.c.conditions.Raise(health.Condition{Code: sourceFailed, Subject: f.Name, Severity: health.Warning, Title: "The list " + f.Name + " could not be fetched",
		Detail: f.Error + ". " + stays + ". It is tried again within the hour; check its URL in the settings."})
}

// keep writes what is known of a file beside it.
func (s *sources) keep(dir string, f SourceFile) error {
	data, err := json.Marshal(f)
	if err != nil {
		return err
	}
	return whole.Write(filepath.Join(dir, f.Name+".json"), data, 0o600)
}
