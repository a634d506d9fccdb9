package control

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"
)

const (
	sourceWait = 10 * time.Minute // for a whole file
	// sourceAgain is how soon a URL is asked again after it failed.
	sourceAgain = 30 * time.Minute
	// geoEvery is how often files about countries and networks are fetched: they are made once a day or week.
	geoEvery = 24 * time.Hour
	// sourceTick is how soon a new URL is asked.
	sourceTick = time.Second
)

// wish is a file that is fetched from time to time.
type sourceWish struct {
	name  string
	url   string
	every time.Duration
	geo   bool
}

// refresh fetches what is due, one file after the other, until ctx ends.
func (s *sources) refresh(ctx context.Context) {
	if s.Dir == "" {
		return
	}
	tick := time.NewTicker(sourceTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.ask:
		}
		for _, w := range s.wishes() {
			if s.due(w) && ctx.Err() == nil {
				s.fetch(ctx, w)
			}
		}
	}
}

func (s *sources) wishes() (list []sourceWish) {
	shield, err := s.inForce()
	if err != nil {
		s.c.log.Error("read which lists to fetch", "err", err)
		return nil
	}
	for _, l := range shield.Lists {
		if l.URL != "" {
			list = append(list, sourceWish{l.Name, l.URL, time.Duration(l.Refresh), false})
		}
	}
	for name, url := range map[string]string{geoCountries: shield.Countries.URL, geoNetworks: shield.Networks.URL} {
		if url != "" {
			list = append(list, sourceWish{name, url, geoEvery, true})
		}
	}
	return list
}

// due tells whether a file is to be fetched: after its time, give or take a tenth, so that boxes do not ask together; sooner
// after a failure; at once from another URL.
func (s *sources) due(w sourceWish) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, known := s.lists[w.name]
	if w.geo {
		f, known = s.geo[w.name]
	}
	if !known || f.URL != w.url || f.Tried.IsZero() {
		return true
	}
	wait := w.every
	if f.Error != "" {
		wait = min(wait, sourceAgain)
	}
	since := s.c.now().Sub(f.Tried)
	return since < 0 || since >= wait*9/10 && rand.N(wait/5) <= since-wait*9/10 //nolint:gosec // no secret
}

// fetch asks for a file once.
func (s *sources) fetch(ctx context.Context, w sourceWish) {
	ctx, cancel := context.WithTimeout(ctx, sourceWait)
	defer cancel()
	body, _, err := s.c.openURL(ctx, "list", w.url, s.Dial)
	if err != nil {
		s.failed(w, err)
		return
	}
	defer body.Close()
	steady := newSteady(body, cancel)
	defer steady.timer.Stop()
	in := endedBy{steady, ctx}
	if w.geo {
		_, err = s.takeGeo(w.name, w.url, in)
	} else {
		_, err = s.takeList(w.name, w.url, in)
	}
	if err != nil {
		if _, told := errors.AsType[*ListUnusable](err); !told {
			s.failed(w, err)
		}
	}
}

func (s *sources) failed(w sourceWish, err error) {
	s.taking.Lock() // or what is not wanted any more and was removed would be there again
	defer s.taking.Unlock()
	if names, unknown := s.c.listsInForce(); !w.geo && unknown == nil && !names[w.name] {
		return
	}
	f := SourceFile{Name: w.name, URL: w.url}
	all, dir := s.lists, s.Dir
	if w.geo {
		all, dir = s.geo, s.geoDir()
	}
	_ = s.refuse(all, dir, f, err) // it has told
}

// endedBy words the end of a transfer that was too slow or not whole.
type endedBy struct {
	in  *steady
	ctx context.Context //nolint:containedctx // of the one transfer that it reads
}

func (e endedBy) Read(p []byte) (int, error) {
	n, err := e.in.Read(p)
	switch {
	case err != nil && e.ctx.Err() != nil:
		err = errors.New("its server sent too little for too long")
	case errors.Is(err, io.ErrUnexpectedEOF):
		err = errors.New("its server broke off in the middle")
	}
	return n, err
}
