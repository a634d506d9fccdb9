package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

type statusCmd struct {
	connection
	JSON bool `name:"json" help:"Print JSON."`
}

func (c *statusCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	if c.JSON {
		return printRaw(ctx, e, box, "/api/v1/status")
	}
	var s control.Status
	if err := box.get(ctx, "/api/v1/status", &s); err != nil {
		return err
	}
	return printStatus(e.stdout, s)
}

func printStatus(w io.Writer, s control.Status) error {
	fmt.Fprintln(w, headline(s))
	printConditions(w, s.Conditions)
	if s.Edge == nil {
		return nil
	}
	fmt.Fprintf(w, "\n%s\n", shieldLine(s.Edge.Shield))
	for _, t := range []*table{serviceTable(s.Edge.Services), originTable(s.Edge.Pools), reasonTable(s.Edge.Reasons)} {
		if len(t.rows) == 1 {
			continue
		}
		fmt.Fprintln(w)
		if err := t.print(w); err != nil {
			return err
		}
	}
	return nil
}

func headline(s control.Status) string {
	switch {
	case s.Edge == nil:
		return fmt.Sprintf("The data plane does not answer. Settings are at revision %d.", s.Revision)
	case s.Revision == 0 && s.Pending == nil:
		return "There are no settings yet."
	case !s.InForce && s.Edge.Revision == s.Revision:
		return fmt.Sprintf("The data plane runs revision %d as it was; control does not use it.", s.Revision)
	case !s.InForce:
		return fmt.Sprintf("The data plane runs revision %d; revision %d is wanted.", s.Edge.Revision, s.Revision)
	case s.Pending != nil:
		return fmt.Sprintf("An unconfirmed change is in force. It is reverted at %s.", s.Pending.Deadline.Local().Format(time.TimeOnly))
	}
	return fmt.Sprintf("Revision %d is in force. The data plane is up for %s.", s.Revision, duration(time.Since(s.Edge.Started)))
}

// shieldLine tells what the front filter does, and where.
func shieldLine(s status.Shield) string {
	line := map[plan.ShieldMode]string{
		plan.ShieldOn:      "The shield drops what is hostile",
		plan.ShieldMonitor: "The shield is in mode monitor: it counts what it would drop, and lets it pass",
	}[s.Mode]
	if line == "" {
		return "The shield is off."
	}
	var where []string
	for _, a := range s.Attachments {
		where = append(where, clean(a.Interface)+" "+clean(a.Mode))
	}
	if len(where) > 0 {
		line += " (" + strings.Join(where, ", ") + ")"
	}
	return line + "."
}

func printConditions(w io.Writer, conditions []health.Condition) {
	for _, c := range conditions {
		title := c.Title
		if c.Subject != "" {
			title += " (" + c.Subject + ")"
		}
		fmt.Fprintf(w, "\n%s: %s\n  %s\n", c.Severity, clean(title), clean(c.Detail))
	}
}

func serviceTable(services []status.Service) *table {
	t := newTable("SERVICE", "SESSIONS", "FLOWS", "OPENED", "TO ORIGIN", "TO CLIENT")
	for _, s := range services {
		t.row(s.Name, fmt.Sprint(s.Sessions), fmt.Sprint(s.Flows), fmt.Sprint(s.SessionsOpened+s.FlowsOpened), size(s.BytesToOrigin), size(s.BytesToClient))
	}
	return t
}

func originTable(pools []status.Pool) *table {
	t := newTable("POOL", "ORIGIN", "ADDRESS", "STATE", "SESSIONS", "FAILED", "SOURCE ADDRESSES", "SINCE", "WHY")
	for _, p := range pools {
		for _, o := range p.Origins {
			t.row(p.Name, o.Name, o.Address, originState(o), fmt.Sprint(o.Sessions), fmt.Sprint(o.Failed), sourceAddressesTowards(p, o), since(o.Since), o.Why)
		}
	}
	return t
}

// sourceAddressesTowards counts the addresses of the box that connections to an origin come from.
func sourceAddressesTowards(p status.Pool, o status.Origin) string {
	n, six := 0, strings.Count(o.Address, ":") > 1 // one may be in front of the port
	for _, a := range p.SourceAddresses {
		if a.Is6() == six {
			n++
		}
	}
	return fmt.Sprint(max(n, 1))
}

func originState(o status.Origin) string {
	state := "down"
	if o.Up {
		state = "up"
	}
	if o.State != "active" {
		state += ", " + string(o.State)
	}
	return state
}

func reasonTable(reasons []status.ReasonCounter) *table {
	t := newTable("CLOSED OR DROPPED", "CODE", "PROTOCOL", "COUNT")
	for _, r := range reasons {
		t.row(r.Reason.String(), fmt.Sprint(r.Code), string(r.Protocol), fmt.Sprint(r.Count))
	}
	return t
}
