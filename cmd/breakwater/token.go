package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"breakwater/appliance/control"
	"breakwater/web/api"
)

type tokenCmd struct {
	Create tokenCreateCmd `cmd:"" help:"Make a token and print it, this once."`
	List   tokenListCmd   `cmd:"" help:"List the tokens."`
	Delete tokenDeleteCmd `cmd:"" help:"Revoke a token at once."`
}

type tokenCreateCmd struct {
	connection
	Name string `arg:"" help:"A name to know it by, such as what uses it."`
}

func (c *tokenCreateCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]string{"name": c.Name})
	if err != nil {
		return err
	}
	var made api.NewToken
	if err := box.call(ctx, http.MethodPost, "/api/v1/tokens", nil, body, &made); err != nil {
		return err
	}
	// Only the secret goes to standard output, so that a script can take it.
	fmt.Fprintln(e.stderr, "Keep this token, it is not shown again:")
	fmt.Fprintln(e.stdout, made.Secret)
	return nil
}

type tokenListCmd struct{ connection }

func (c *tokenListCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	var list []control.Token
	if err := box.get(ctx, "/api/v1/tokens", &list); err != nil {
		return err
	}
	t := newTable("NAME", "ROLE", "CREATED")
	for _, token := range list {
		t.row(token.Name, token.Role, token.Created.Local().Format(time.DateTime))
	}
	return t.print(e.stdout)
}

type tokenDeleteCmd struct {
	connection
	Name string `arg:"" help:"The name of the token."`
}

func (c *tokenDeleteCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if err := box.call(ctx, http.MethodDelete, "/api/v1/tokens/"+url.PathEscape(c.Name), nil, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "Revoked.")
	return nil
}
