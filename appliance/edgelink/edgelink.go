// Package edgelink is the way from control to the edge process: HTTP over its unix socket, with the types of plan and
// status as bodies.
//
//	link := edgelink.New("/run/breakwater/edge.sock")
//	err := link.Apply(ctx, plan) // a *Refusal leaves the old plan in force
//	seen, err := link.Status(ctx)
//
// Edge need not run: every call then says ErrUnreachable, and what edge carries goes on.
package edgelink

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"breakwater/appliance/logs"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

const (
	// applyWait covers opening thousands of sockets and kernel objects on a slow box.
	applyWait = 20 * time.Second
	askWait   = 5 * time.Second
	// listsWait covers a table of millions on a slow box, and its way to the disk.
	listsWait = 60 * time.Second
	// maxAnswer bounds what edge may answer: about 400 bytes for each of 100,000 sessions.
	maxAnswer = 64 << 20
	maxEvent  = 64 << 10
)

// ErrUnreachable means that edge did not answer. What it carries goes on.
var ErrUnreachable = errors.New("the data plane (breakwater edge) does not answer")

// ErrNoSession means that a session ended before, or never was.
var ErrNoSession = errors.New("there is no such session or flow")

// Refusal is edge saying no, in its words.
type Refusal struct {
	Status int    `json:"-"`
	Title  string `json:"title"`
	Detail string `json:"detail"`
}

func (r *Refusal) Error() string {
	switch {
	case r.Title == "" && r.Detail == "":
		return "the data plane answered " + strconv.Itoa(r.Status)
	case r.Detail == "":
		return r.Title
	case r.Title == "":
		return r.Detail
	}
	return r.Title + ": " + r.Detail
}

// Link is the way to one edge process. It is safe for concurrent use.
type Link struct{ client *http.Client }

// New talks to the edge process that listens on socket. It need not run yet.
func New(socket string) *Link {
	dialer := &net.Dialer{Timeout: askWait}
	return &Link{&http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
		ResponseHeaderTimeout: listsWait, // each call has a shorter one of its own
		IdleConnTimeout:       time.Minute,
	}}}
}

// Apply makes p the plan in force, as a whole. A *Refusal leaves the old plan in force.
func (l *Link) Apply(ctx context.Context, p plan.Plan) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, applyWait)
	defer cancel()
	return l.call(ctx, http.MethodPut, "/plan", body, nil)
}

// Status asks what edge observes.
func (l *Link) Status(ctx context.Context) (s status.Edge, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	return s, l.call(ctx, http.MethodGet, "/status", nil, &s)
}

// SessionQuery says which sessions are asked for. The zero value asks for all, the newest first.
type SessionQuery struct {
	Limit      int    // 0: all
	Offset     int    // how many of those that match are left out in front
	Service    string // by name
	Client     string // an address
	Search     string // part of an address, a name or an id
	Sort       string // started, client, service, origin, idle, bytes, state; empty: started, the newest first
	Descending bool
}

// Sessions lists sessions and flows. What cannot be asked for is a *Refusal.
func (l *Link) Sessions(ctx context.Context, q SessionQuery) (list status.SessionList, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	return list, l.call(ctx, http.MethodGet, "/sessions?"+q.values().Encode(), nil, &list)
}

func (q SessionQuery) values() url.Values {
	v := url.Values{}
	set := func(name, value string) {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	if q.Offset > 0 {
		v.Set("offset", strconv.Itoa(q.Offset))
	}
	set("service", q.Service)
	set("client", q.Client)
	set("search", q.Search)
	set("sort", q.Sort)
	switch {
	case q.Descending:
		v.Set("order", "desc")
	case q.Sort != "":
		v.Set("order", "asc")
	}
	return v
}

// SetBans makes bans the whole list of bans in force.
func (l *Link) SetBans(ctx context.Context, bans []plan.Ban) error {
	body, err := json.Marshal(bans)
	if err != nil {
		return fmt.Errorf("write bans: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, applyWait)
	defer cancel()
	return l.call(ctx, http.MethodPut, "/bans", body, nil)
}

// SetLists makes an encoded table (package lists) the lists in force, all at once. A *Refusal leaves the former ones.
func (l *Link) SetLists(ctx context.Context, encoded []byte) error {
	ctx, cancel := context.WithTimeout(ctx, listsWait)
	defer cancel()
	return l.call(ctx, http.MethodPut, "/lists", encoded, nil)
}

// Try makes one connection from the box. What it may not connect to is a *Refusal.
func (l *Link) Try(ctx context.Context, t plan.Try) (trial status.Trial, err error) {
	body, err := json.Marshal(t)
	if err != nil {
		return trial, fmt.Errorf("write trial: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, plan.MaxTryTime+askWait)
	defer cancel()
	return trial, l.call(ctx, http.MethodPost, "/try", body, &trial)
}

// Log is the last records of edge's log, the oldest first.
func (l *Link) Log(ctx context.Context) (list []logs.Record, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	return list, l.call(ctx, http.MethodGet, "/log", nil, &list)
}

// Samples are the packets that the shield picked out after the one with number since, the oldest first, as far as edge
// still has them. A number that edge has not reached yet is of the time before its restart: then all are told.
func (l *Link) Samples(ctx context.Context, since uint64) (list []status.Sample, err error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	return list, l.call(ctx, http.MethodGet, "/shield/samples?since="+strconv.FormatUint(since, 10), nil, &list)
}

// Kill ends a session or flow.
func (l *Link) Kill(ctx context.Context, id status.ID) error {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	err := l.call(ctx, http.MethodDelete, "/sessions/"+id.String(), nil, nil)
	if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.Status == http.StatusNotFound {
		return ErrNoSession
	}
	return err
}

// Events calls each with every event until ctx ends, each returns an error, or edge closes the stream.
func (l *Link) Events(ctx context.Context, each func(status.Event) error) error {
	response, err := l.do(ctx, http.MethodGet, "/events", nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	lines.Buffer(nil, maxEvent)
	for lines.Scan() {
		var event status.Event
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if err := each(event); err != nil {
			return err
		}
	}
	return lines.Err()
}

// call asks and reads the answer into answer, unless that is nil.
func (l *Link) call(ctx context.Context, method, path string, body []byte, answer any) error {
	response, err := l.do(ctx, method, path, body)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if answer == nil {
		return nil
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxAnswer)).Decode(answer); err != nil {
		return fmt.Errorf("%w: read its answer to %s %s: %w", ErrUnreachable, method, path, err)
	}
	return nil
}

// do returns a response of the 200s; the caller closes its body.
func (l *Link) do(ctx context.Context, method, path string, body []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, "http://edge"+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := l.client.Do(request)
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without the made-up URL of the socket
		}
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	if response.StatusCode/100 == 2 {
		return response, nil
	}
	defer response.Body.Close()
	refusal := &Refusal{Status: response.StatusCode}
	// An answer that is not JSON leaves the refusal without words; its status says enough.
	_ = json.NewDecoder(io.LimitReader(response.Body, maxEvent)).Decode(refusal)
	return nil, refusal
}
