package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/api"
)

type exportCmd struct {
	connection
	Revision uint64 `arg:"" optional:"" help:"The revision; default: the current one."`
}

func (c *exportCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	path := "/api/v1/settings"
	if c.Revision != 0 {
		path = fmt.Sprintf("/api/v1/revisions/%d", c.Revision)
	}
	var document []byte
	if err := box.get(ctx, path, &document); err != nil {
		return err
	}
	_, err = e.stdout.Write(document)
	return err
}

type revisionsCmd struct {
	connection
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *revisionsCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.JSON {
		return printRaw(ctx, e, box, "/api/v1/revisions")
	}
	var list []control.Revision
	if err := box.get(ctx, "/api/v1/revisions", &list); err != nil {
		return err
	}
	t := newTable("REVISION", "TIME", "AUTHOR", "REASON")
	for _, r := range list {
		t.row(fmt.Sprint(r.Number), r.Time.Local().Format(time.DateTime), r.Author, r.Reason)
	}
	return t.print(e.stdout)
}

type diffCmd struct {
	connection
	Revision uint64 `arg:"" help:"The revision."`
}

func (c *diffCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	var answer api.Changes
	if err := box.get(ctx, fmt.Sprintf("/api/v1/revisions/%d/diff", c.Revision), &answer); err != nil {
		return err
	}
	printChanges(e, answer.Changes)
	return nil
}

// printChanges writes - what was and + what is, for each field.
func printChanges(e *env, changes []settings.Change) {
	if len(changes) == 0 {
		fmt.Fprintln(e.stdout, "Nothing changes.")
	}
	for _, c := range changes {
		fmt.Fprintln(e.stdout, clean(c.Field))
		if c.From != "" {
			fmt.Fprintln(e.stdout, "  -", clean(c.From))
		}
		if c.To != "" {
			fmt.Fprintln(e.stdout, "  +", clean(c.To))
		}
	}
}

type rollbackCmd struct {
	connection
	Revision uint64        `arg:"" help:"The revision to go back to."`
	Reason   string        `help:"Why, for the list of revisions." placeholder:"TEXT"`
	Confirm  time.Duration `help:"Revert the change unless it is confirmed within this time, such as 60s." placeholder:"TIME"`
}

func (c *rollbackCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	var result control.Result
	path := fmt.Sprintf("/api/v1/revisions/%d/rollback", c.Revision)
	if err := box.call(ctx, http.MethodPost, path, metaQuery(c.Reason, c.Confirm), nil, &result); err != nil {
		return err
	}
	printResult(e, result)
	return nil
}
