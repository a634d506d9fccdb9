package control

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"
)

const (
	listWait = 10 * time.Minute // for a whole file
	// listAgain is how soon a URL is asked again after it failed.
	listAgain = 30 * time.Minute
	// geoEvery is how often files about countries and networks are fetched: they are made once a day or week.
	geoEvery = 24 * time.Hour
	// listTick is how soon a new URL is asked.
	listTick = time.Second
)

// wish is a file that is fetched from time to time.
type listWish struct {
	name  string
	url   string
	every time.Duration
	geo   bool
}

// refresh fetches what is due, one file after the other, until ctx ends.
func (k *listKeeper) refresh(ctx context.Context) {
	if k.Dir == "" {
		return
	}
	tick := time.NewTicker(listTick)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-k.ask:
		}
		for _, w := range k.wishes() {
			if k.due(w) && ctx.Err() == nil {
				k.fetch(ctx, w)
			}
		}
	}
}

func (k *listKeeper) wishes() (list []listWish) {
	shield, err := k.inForce()
	if err != nil {
		k.c.log.Error("read which lists to fetch", "err", err)
		return nil
	}
	for _, l := range shield.Lists {
		if l.URL != "" {
			list = append(list, listWish{l.Name, l.URL, time.Duration(l.Refresh), false})
		}
	}
	for name, url := range map[string]string{geoCountries: shield.Countries.URL, geoNetworks: shield.Networks.URL} {
		if url != "" {
			list = append(list, listWish{name, url, geoEvery, true})
		}
	}
	return list
}

// due tells whether a file is to be fetched: after its time, give or take a tenth, so that boxes do not ask together; sooner
// after a failure; at once from another URL.
func (k *listKeeper) due(w listWish) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	f, known := k.lists[w.name]
	if w.geo {
		f, known = k.geo[w.name]
	}
	if !known || f.URL != w.url || f.Tried.IsZero() {
		return true
	}
	wait := w.every
	if f.Error != "" {
		wait = min(wait, listAgain)
	}
	since := k.c.now().Sub(f.Tried)
	return since < 0 || since >= wait*9/10 && rand.N(wait/5) <= since-wait*9/10 //nolint:gosec // no secret
}

// fetch asks for a file once.
func (k *listKeeper) fetch(ctx context.Context, w listWish) {
	ctx, cancel := context.WithTimeout(ctx, listWait)
	defer cancel()
	body, _, err := k.c.openURL(ctx, "list", w.url, k.Dial)
	if err != nil {
		k.failed(w, err)
		return
	}
	defer body.Close()
	steady := newSteady(body, cancel)
	defer steady.timer.Stop()
	in := endedBy{steady, ctx}
	if w.geo {
		_, err = k.takeGeo(w.name, w.url, in)
	} else {
		_, err = k.takeList(w.name, w.url, in)
	}
	if err != nil {
		if _, told := errors.AsType[*ListUnusable](err); !told {
			k.failed(w, err)
		}
	}
}

func (k *listKeeper) failed(w listWish, err error) {
	k.taking.Lock() // or what is not wanted any more and was removed would be there again
	defer k.taking.Unlock()
	if names, unknown := k.c.listsInForce(); !w.geo && unknown == nil && !names[w.name] {
		return
	}
	f := ListFile{Name: w.name, URL: w.url}
	all, dir := k.lists, k.Dir
	if w.geo {
		all, dir = k.geo, k.geoDir()
	}
	_ = k.refuse(all, dir, f, err) // it has told
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
