package control

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/update"
)

const (
	fetchWait  = 2 * time.Hour    // for a whole update
	stallWait  = 30 * time.Second // for the next stallBytes of it
	stallBytes = 256 << 10
	// firstLook is after a start, so that boxes that start together do not ask together; then lookEvery, give or take
	// a quarter of it.
	firstLook = 10 * time.Minute
	lookEvery = 24 * time.Hour
)

const (
	updateAvailable = "update-available"
	updateUnknown   = "update-unknown"
)

// FetchUpdate begins to fetch the update from the URL of the settings, and returns. Update tells what becomes of it.
func (c *Control) FetchUpdate() error {
	u := c.updates
	if !u.on() {
		return ErrNoAppliance
	}
	s, err := c.currentSettings()
	if err != nil {
		return err
	}
	if s.Updates.URL == "" {
		return ErrNoUpdateURL
	}
	if err := u.begin(UpdateReceiving); err != nil {
		return err
	}
	u.jobs <- func(ctx context.Context) { // begin lets one job in
		r, err := u.fetch(ctx, s.Updates.URL)
		u.end(UpdateReceived, &r, err)
		if err != nil {
			c.log.Error("fetch the update", "url", s.Updates.URL, "err", err)
		}
	}
	return nil
}

func (u *updates) fetch(ctx context.Context, from string) (update.Release, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWait)
	defer cancel()
	body, size, err := u.open(ctx, from)
	if err != nil {
		return update.Release{}, err
	}
	defer body.Close()
	r, err := u.receive(newSteady(body, cancel), size)
	if ctx.Err() != nil {
		err = errors.New("the server of the update sent too little for too long")
	}
	return r, err
}

// steady ends a transfer that does not go on.
type steady struct {
	in    io.Reader
	timer *time.Timer
	since int // bytes since the timer was set
}

func newSteady(in io.Reader, end func()) *steady {
	return &steady{in: in, timer: time.AfterFunc(stallWait, end)}
}

func (s *steady) Read(p []byte) (int, error) {
	n, err := s.in.Read(p)
	if s.since += n; s.since >= stallBytes {
		s.since = 0
		s.timer.Reset(stallWait)
	}
	if err != nil {
		s.timer.Stop()
	}
	return n, err
}

// open asks for the update. A size of less than 0 is not known.
func (u *updates) open(ctx context.Context, from string) (io.ReadCloser, int64, error) {
	return u.c.openURL(ctx, "update", from, u.Dial)
}

// daily is a timer that is never quite on time.
type daily struct{ *time.Timer }

func newDaily() daily { return daily{time.NewTimer(firstLook/2 + rand.N(firstLook))} } //nolint:gosec // no secret

func (d daily) again() { d.Reset(lookEvery*3/4 + rand.N(lookEvery/2)) } //nolint:gosec // no secret

// look reads the head of what is at the URL of the settings, and raises a condition when it is newer than all that is here.
func (u *updates) look(ctx context.Context) {
	s, err := u.c.currentSettings()
	if !u.on() || err != nil || s.Updates.URL == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 2*answerWait)
	defer cancel()
	r, err := u.inspect(ctx, s.Updates.URL)
	if err != nil {
		u.c.log.Warn("look for a newer version", "url", s.Updates.URL, "err", err)
		u.c.conditions.Raise(health.Condition{Code: updateUnknown, Severity: health.Info, Title: "Whether there is a newer version is not known",
			Detail: sentence(err) + ". It is tried again once a day; check the URL of updates in the settings."})
		return
	}
	u.c.conditions.Clear(updateUnknown, "")
	runs := u.System()
	if r.Version <= runs.Version || r.Version == runs.Other {
		u.c.conditions.Clear(updateAvailable, "")
		return
	}
	u.c.conditions.Raise(health.Condition{Code: updateAvailable, Severity: health.Info, Title: "Version " + r.Version + " is there",
		Detail: "This box runs " + runs.Version + ". System, Update fetches and installs it."})
}

func (u *updates) inspect(ctx context.Context, from string) (update.Release, error) {
	body, _, err := u.open(ctx, from)
	if err != nil {
		return update.Release{}, err
	}
	r, err := update.Inspect(body, u.Key)
	return r, errors.Join(err, body.Close())
}
