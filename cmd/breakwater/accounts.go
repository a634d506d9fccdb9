package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"breakwater/appliance/access"
	"breakwater/web/api"
)

// The accounts of the web page. These commands are the way back in for who lost a password or a second factor: over the
// unix socket no login is needed.
type accountsCmd struct {
	List     accountListCmd     `cmd:"" default:"withargs" help:"List the accounts."`
	Create   accountCreateCmd   `cmd:"" help:"Make an account. Its password is the first line of standard input."`
	Role     accountRoleCmd     `cmd:"" help:"Change what an account may do."`
	Password accountPasswordCmd `cmd:"" help:"Give an account another password, the first line of standard input, and end its logins."`
	Reset    accountResetCmd    `cmd:"" help:"Take the authenticator app away from an account whose owner lost it."`
	Delete   accountDeleteCmd   `cmd:"" help:"Remove an account and end its logins."`
}

type accountListCmd struct {
	connection
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *accountListCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.JSON {
		return printRaw(ctx, e, box, "/api/v1/accounts")
	}
	var list []access.Account
	if err := box.get(ctx, "/api/v1/accounts", &list); err != nil {
		return err
	}
	t := newTable("NAME", "ROLE", "CREATED", "LAST LOGIN", "SECOND FACTOR")
	for _, a := range list {
		t.row(a.Name, string(a.Role), moment(a.Created), moment(a.LastLogin), factorOf(a))
	}
	return t.print(e.stdout)
}

func factorOf(a access.Account) string {
	var factors []string
	if a.TOTP {
		factors = append(factors, "app")
	}
	if n := len(a.Passkeys); n > 0 {
		factors = append(factors, fmt.Sprintf("passkeys (%d)", n))
	}
	if len(factors) == 0 {
		return "none"
	}
	return strings.Join(factors, ", ")
}

type accountCreateCmd struct {
	connection
	Name string `arg:"" help:"The name to sign in with."`
	Role string `help:"What it may do: ${enum}. Default: ${default}." enum:"viewer,operator,admin,auditor" default:"viewer" placeholder:"ROLE"`
}

func (c *accountCreateCmd) Run(ctx context.Context, e *env) error {
	password, err := readPassword(e)
	if err != nil {
		return err
	}
	return c.change(ctx, e, http.MethodPost, "/api/v1/accounts", map[string]string{"name": c.Name, "role": c.Role, "password": password}, "Created.")
}

type accountRoleCmd struct {
	connection
	Name string `arg:"" help:"The account."`
	Role string `arg:"" enum:"viewer,operator,admin,auditor" help:"What it may do: ${enum}."`
}

func (c *accountRoleCmd) Run(ctx context.Context, e *env) error {
	return c.change(ctx, e, http.MethodPut, "/api/v1/accounts/"+url.PathEscape(c.Name)+"/role", map[string]string{"role": c.Role}, "Changed.")
}

type accountPasswordCmd struct {
	connection
	Name string `arg:"" help:"The account."`
}

func (c *accountPasswordCmd) Run(ctx context.Context, e *env) error {
	password, err := readPassword(e)
	if err != nil {
		return err
	}
	return c.change(ctx, e, http.MethodPut, "/api/v1/accounts/"+url.PathEscape(c.Name)+"/password", map[string]string{"password": password}, "Changed. Its logins are ended.")
}

type accountResetCmd struct {
	connection
	Name string `arg:"" help:"The account."`
}

func (c *accountResetCmd) Run(ctx context.Context, e *env) error {
	return c.change(ctx, e, http.MethodDelete, "/api/v1/accounts/"+url.PathEscape(c.Name)+"/totp", nil, "Removed.")
}

type accountDeleteCmd struct {
	connection
	Name string `arg:"" help:"The account."`
}

func (c *accountDeleteCmd) Run(ctx context.Context, e *env) error {
	return c.change(ctx, e, http.MethodDelete, "/api/v1/accounts/"+url.PathEscape(c.Name), nil, "Removed.")
}

// readPassword takes the first line of standard input: on a command line it would be seen by every process.
func readPassword(e *env) (string, error) {
	line, err := bufio.NewReader(e.stdin).ReadString('\n')
	if line = strings.TrimRight(line, "\r\n"); line == "" {
		return "", fmt.Errorf("read the password from standard input: %w", errors.Join(err, errors.New("it is empty")))
	}
	return line, nil
}

type setupCodeCmd struct{ connection }

func (c *setupCodeCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	var setup api.Setup
	if err := box.get(ctx, "/api/v1/setup-code", &setup); err != nil {
		return err
	}
	switch {
	case setup.Claimed:
		return errors.New("this box has an account already; sign in on its web page, or: breakwater accounts password NAME")
	case setup.Code == "":
		return errors.New("too many wrong setup codes were tried; restart breakwater control to get a new one")
	}
	fmt.Fprintln(e.stdout, setup.Code)
	return nil
}
