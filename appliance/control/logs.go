package control

import (
	"context"
	"slices"

	"breakwater/appliance/logs"
)

// LogLine is one record of one of the two processes.
type LogLine struct {
	Process string `json:"process"` // control, edge
	logs.Record
}

// Logs are the last records of both processes in the order of their time, the oldest first. While edge does not answer
// they are those of control alone.
func (c *Control) Logs(ctx context.Context) ([]LogLine, error) {
	list := []LogLine{}
	add := func(process string, records []logs.Record) {
		for _, r := range records {
			list = append(list, LogLine{process, r})
		}
	}
	if c.records != nil {
		add("control", c.records())
	}
	if records, err := c.edge.Log(ctx); err == nil { // else a condition tells, see keeper
		add("edge", records)
	}
	slices.SortStableFunc(list, func(a, b LogLine) int { return a.Time.Compare(b.Time) })
	return list, nil
}
