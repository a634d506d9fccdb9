package main

import (
	"context"
	"fmt"
	"net/url"
	"strconv"
	"time"

	"breakwater/appliance/control"
)

type incidentsCmd struct {
	connection
	Limit int  `help:"How many at most, the newest first. Default: ${default}." default:"20" placeholder:"NUMBER"`
	Open  bool `help:"Only those that go on."`
	JSON  bool `name:"json" help:"Print JSON."`
}

func (c *incidentsCmd) Run(ctx context.Context, e *env) error {
	box, err := c.dial()
	if err != nil {
		return err
	}
	query := url.Values{"limit": {strconv.Itoa(c.Limit)}}
	if c.Open {
		query.Set("open", "true")
	}
	path := "/api/v1/incidents?" + query.Encode()
	if c.JSON {
		return printRaw(ctx, e, box, path)
	}
	var list []control.Incident
	if err := box.get(ctx, path, &list); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintln(e.stdout, "There is no incident.")
		return nil
	}
	return incidentTable(list).print(e.stdout)
}

func incidentTable(list []control.Incident) *table {
	t := newTable("ID", "BEGAN", "LASTED", "WHAT", "PACKETS/S", "DROPPED")
	for i := range list {
		lasted := duration(time.Duration(list[i].Seconds) * time.Second)
		if list[i].Open() {
			lasted += ", goes on"
		}
		t.row(fmt.Sprint(list[i].ID), list[i].Start.Local().Format(time.DateTime), lasted, list[i].Title(),
			fmt.Sprintf("%.0f", list[i].Peak.Packets), fmt.Sprintf("%d of %d", list[i].Totals.Dropped, list[i].Totals.Packets))
	}
	return t
}
