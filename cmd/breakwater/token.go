package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"breakwater/appliance/access"
	"breakwater/web/api"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token and print it, this once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens."`
	Delete tokenDeleteCmd `cmd:"" help:"Revoke a token at once."`
}

type tokenCreateCmd struct {
	connection
	Name    string   `arg:"" help:"A name to know it by, such as what uses it."`
	Role    string   `help:"What it may do: ${enum}. Default: ${default}." enum:"viewer,operator,admin,auditor" default:"viewer" placeholder:"ROLE"`
	Expires string   `help:"When it ends: a time from now such as 90d or 12h, a day such as 2030-01-31, or never. Default: ${default}." default:"90d" placeholder:"WHEN"`
	Network []string `help:"From where it may be used, such as 10.0.0.0/8; more than once for more. Default: from anywhere." placeholder:"NETWORK"`
}

func (c *tokenCreateCmd) Run(ctx context.Context, e *env) error {
	request := api.TokenRequest{Name: c.Name, Role: access.Role(c.Role), Networks: c.Network}
	var err error
	if request.Expires, err = expiryOf(c.Expires, time.Now()); err != nil {
		return err
	}
	box, err := c.dial()
	if err != nil {
		return err
	}
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	var made api.NewToken
	if err := box.call(ctx, http.MethodPost, "/api/v1/tokens", nil, body, &made); err != nil {
		return err
	}
	// Only the secret goes to standard output, so that a script can take it.
	end := "never ends"
	if !made.Expires.IsZero() {
		end = "ends " + moment(made.Expires)
	}
	fmt.Fprintf(e.stderr, "This token has the role %s and %s. Keep it, it is not shown again:\n", made.Role, end)
	fmt.Fprintln(e.stdout, made.Secret)
	return nil
}

// expiryOf reads a time from now, with d for days, or a day or moment. Never is the zero time.
func expiryOf(text string, now time.Time) (time.Time, error) {
	if text == "never" {
		return time.Time{}, nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		var n int
		if _, err := fmt.Sscanf(days, "%d", &n); err == nil && fmt.Sprint(n) == days && n > 0 {
			return now.AddDate(0, 0, n), nil
		}
	}
	if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return now.Add(d), nil
	}
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("%w: --expires %q is not a time; write it like 90d, 12h or 2030-01-31", errUsage, text)
}

type tokenListCmd struct {
	connection
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *tokenListCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.JSON {
		return printRaw(ctx, e, box, "/api/v1/tokens")
	}
	var list []access.Token
	if err := box.get(ctx, "/api/v1/tokens", &list); err != nil {
		return err
	}
	t := newTable("NAME", "ROLE", "MADE BY", "CREATED", "EXPIRES", "LAST USED", "NETWORKS")
	for _, token := range list {
		t.row(token.Name, string(token.Role), cmp.Or(token.Author, "-"), moment(token.Created), moment(token.Expires), moment(token.LastUsed), networks(token.Networks))
	}
	return t.print(e.stdout)
}

func networks(prefixes []netip.Prefix) string {
	texts := make([]string, len(prefixes))
	for i, p := range prefixes {
		texts[i] = p.String()
	}
	return strings.Join(texts, " ")
}

// moment is a time of the operator's clock; a hyphen for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}

type tokenDeleteCmd struct {
	connection
	Name string `arg:"" help:"The name of the token."`
}

func (c *tokenDeleteCmd) Run(ctx context.Context, e *env) error {
	return c.change(ctx, e, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(c.Name), nil, "Revoked.")
}
