package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/api"
)

type applyCmd struct {
	connection
	File    string        `arg:"" help:"The settings document; - reads standard input."`
	Reason  string        `help:"Why, for the list of revisions." placeholder:"TEXT"`
	Confirm time.Duration `help:"Revert the change unless it is confirmed within this time, such as 60s." placeholder:"TIME"`
	Check   bool          `help:"Only tell what would change."`
}

func (c *applyCmd) Run(ctx context.Context, e *env) error {
	document, err := readDocument(e, c.File)
	if err != nil {
		return err
	}
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.Check {
		return checkDocument(ctx, e, box, document)
	}
	var result control.Result
	if err := box.call(ctx, http.MethodPut, "/api/v1/settings", metaQuery(c.Reason, c.Confirm), document, &result); err != nil {
		return err
	}
	printResult(e, result)
	return nil
}

func checkDocument(ctx context.Context, e *env, box *client, document []byte) error {
	var answer api.Check
	if err := box.call(ctx, http.MethodPut, "/api/v1/settings", url.Values{"check": {"true"}}, document, &answer); err != nil {
		return err
	}
	printChanges(e, answer.Changes)
	if answer.Dangerous {
		fmt.Fprintln(e.stdout, "This can cut you off. Apply it with --confirm 60s: it is reverted unless you confirm it.")
	}
	return nil
}

func metaQuery(reason string, confirm time.Duration) url.Values {
	query := url.Values{}
	if reason != "" {
		query.Set("reason", reason)
	}
	if confirm != 0 {
		query.Set("confirm", confirm.String())
	}
	return query
}

func printResult(e *env, result control.Result) {
	switch {
	case result.Pending != nil:
		fmt.Fprintf(e.stdout, "Applied. Reverted at %s unless you run: breakwater confirm\n", result.Pending.Deadline.Local().Format(time.TimeOnly))
	case result.Unchanged:
		fmt.Fprintf(e.stdout, "Nothing to change: these are the settings of revision %d.\n", result.Revision)
	case result.Later:
		fmt.Fprintf(e.stdout, "Stored as revision %d. The data plane (breakwater edge) does not answer; it gets it as soon as it does.\n", result.Revision)
	default:
		fmt.Fprintf(e.stdout, "Applied as revision %d.\n", result.Revision)
	}
}

type confirmCmd struct{ connection }

func (c *confirmCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	var result control.Result
	if err := box.call(ctx, http.MethodPost, "/api/v1/settings/confirm", nil, nil, &result); err != nil {
		return err
	}
	fmt.Fprintf(e.stdout, "Confirmed as revision %d.\n", result.Revision)
	return nil
}

type revertCmd struct{ connection }

func (c *revertCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if err := box.call(ctx, http.MethodPost, "/api/v1/settings/revert", nil, nil, nil); err != nil {
		return err
	}
	fmt.Fprintln(e.stdout, "Reverted.")
	return nil
}

type validateCmd struct {
	File string `arg:"" help:"The settings document; - reads standard input."`
}

func (c *validateCmd) Run(e *env) error {
	document, err := readDocument(e, c.File)
	if err != nil {
		return err
	}
	_, problems := settings.Read(document)
	for _, p := range problems {
		fmt.Fprintln(e.stdout, p)
	}
	switch len(problems) {
	case 0:
		fmt.Fprintln(e.stdout, "The settings are valid.")
		return nil
	case 1:
		return fmt.Errorf("%s has a problem", c.File)
	}
	return fmt.Errorf("%s has %d problems", c.File, len(problems))
}

// readDocument reads a file, or standard input for -. What is too large is cut one byte over the limit, which is enough
// to be refused for its size.
func readDocument(e *env, name string) ([]byte, error) {
	in := e.stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("read settings: %w", err)
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, settings.MaxSize+1))
	if err == nil && len(data) == 0 {
		err = errors.New(name + " is empty")
	}
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	return data, nil
}
