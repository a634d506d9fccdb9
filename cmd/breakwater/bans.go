package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"breakwater/appliance/control"
)

type banCmd struct {
	connection
	Prefix string `arg:"" help:"An address or a network, such as 203.0.113.7 or 2001:db8::/48."`
	For    string `help:"How long: a time such as 1h or 24h, or ever. Default: 1h, as on the page." default:"1h" placeholder:"TIME"`
	Reason string `help:"Why, for the list of bans." placeholder:"TEXT"`
}

func (c *banCmd) Run(ctx context.Context, e *env) error {
	request := map[string]string{"prefix": c.Prefix, "reason": c.Reason}
	if c.For != "ever" {
		if d, err := time.ParseDuration(c.For); err != nil || d <= 0 {
			return fmt.Errorf("%w: --for is a time such as 1h or 24h, or ever", errUsage)
		}
		request["for"] = c.For
	}
	return c.change(ctx, e, http.MethodPost, "/api/v1/bans", request, "Banned for "+c.For+".")
}

type unbanCmd struct {
	connection
	Prefix string `arg:"" help:"As the list of bans shows it."`
}

func (c *unbanCmd) Run(ctx context.Context, e *env) error {
	return c.change(ctx, e, http.MethodDelete, "/api/v1/bans/"+url.PathEscape(c.Prefix), nil, "Let in again.")
}

type bansCmd struct {
	connection
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *bansCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.JSON {
		return printRaw(ctx, e, box, "/api/v1/bans")
	}
	var list []control.Ban
	if err := box.get(ctx, "/api/v1/bans", &list); err != nil {
		return err
	}
	t := newTable("PREFIX", "SINCE", "LEFT", "AUTHOR", "REASON")
	for _, b := range list {
		t.row(prefixText(b.Prefix), b.Since.Local().Format(time.DateTime), left(b.Until), b.Author, b.Reason)
	}
	return t.print(e.stdout)
}

// prefixText leaves out the length of a single address.
func prefixText(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// left is how long a ban goes on.
func left(until time.Time) string {
	if until.IsZero() {
		return "for ever"
	}
	return duration(time.Until(until))
}
