package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"breakwater/appliance/status"
)

type sessionsCmd struct {
	connection
	JSON    bool   `name:"json" help:"Print JSON."`
	Limit   int    `help:"How many at most; 0: all." default:"0"`
	Service string `help:"Only those of this service." placeholder:"NAME"`
	Client  string `help:"Only those of this client address." placeholder:"ADDRESS"`
	Search  string `help:"Only those with this in an address, a name or their id." placeholder:"TEXT"`
	Sort    string `help:"Sort by started, client, service, origin, idle, bytes or state. Default: the newest first." placeholder:"COLUMN"`
	Desc    bool   `help:"Sort the largest first."`
}

func (c *sessionsCmd) Run(ctx context.Context, e *env) error {
	if c.Limit < 0 {
		return fmt.Errorf("%w: --limit is a number from 0", errUsage)
	}
	box, err := c.dial()
	if err != nil {
		return err
	}
	var list status.SessionList
	if err := box.call(ctx, http.MethodGet, "/api/v1/sessions", c.query(), nil, &list); err != nil {
		return err
	}
	if c.JSON {
		return json.NewEncoder(e.stdout).Encode(list.Sessions)
	}
	t := newTable("ID", "PROTOCOL", "PATH", "SERVICE", "CLIENT", "EDGE", "ORIGIN", "STATE", "AGE", "IDLE", "TO ORIGIN", "TO CLIENT")
	for _, s := range list.Sessions {
		t.row(s.ID.String(), string(s.Protocol), string(s.Path), s.Service, s.Client.String(), s.Edge.String(), s.Origin+" "+addressOf(s.OriginAddress), s.State,
			since(s.Started), duration(time.Duration(s.Idle*float64(time.Second))), size(s.BytesToOrigin), size(s.BytesToClient))
	}
	return t.print(e.stdout)
}

func (c *sessionsCmd) query() url.Values {
	query := url.Values{}
	if c.Limit > 0 {
		query.Set("limit", strconv.Itoa(c.Limit))
	}
	if c.Service != "" {
		query.Set("service", c.Service)
	}
	if c.Client != "" {
		query.Set("client", c.Client)
	}
	if c.Search != "" {
		query.Set("search", c.Search)
	}
	if c.Sort != "" {
		query.Set("sort", c.Sort)
		query.Set("order", map[bool]string{false: "asc", true: "desc"}[c.Desc])
	}
	return query
}

func addressOf(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

type killCmd struct {
	connection
	ID string `arg:"" help:"The id that the list of sessions shows."`
}

func (c *killCmd) Run(ctx context.Context, e *env) error {
	return c.change(ctx, e, http.MethodDelete, "/api/v1/sessions/"+url.PathEscape(c.ID), nil, "Ended.")
}

type eventsCmd struct {
	connection
	JSON bool `name:"json" help:"Print one JSON object a line."`
}

func (c *eventsCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	response, err := box.do(ctx, http.MethodGet, "/api/v1/events", nil, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		data, isData := strings.CutPrefix(lines.Text(), "data: ")
		if !isData {
			continue // the names of events, and what keeps the stream open
		}
		if err := c.print(e, data); err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil // ended by the operator
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the stream of events broke off: %w", err)
	}
	return fmt.Errorf("%s ended the stream of events", box.name)
}

func (c *eventsCmd) print(e *env, data string) error {
	if c.JSON {
		_, err := fmt.Fprintln(e.stdout, data)
		return err
	}
	var event status.Event
	if err := json.Unmarshal([]byte(data), &event); err != nil {
		return fmt.Errorf("read event: %w", err)
	}
	_, err := fmt.Fprintln(e.stdout, clean(eventLine(event)))
	return err
}

func eventLine(e status.Event) string {
	line := fmt.Sprintf("%s %-10s %s %s %s %s -> %s", e.Time.Local().Format(time.TimeOnly), e.Type, e.ID, e.Protocol, e.Service, e.Client, e.Edge)
	if e.Origin != "" {
		line += fmt.Sprintf(" -> %s %s", e.Origin, addressOf(e.OriginAddress))
	}
	if e.Reason != nil {
		line += fmt.Sprintf("  %s (%d), %s to origin, %s to client", e.Reason, e.Code, size(e.BytesToOrigin), size(e.BytesToClient))
	}
	return line
}
