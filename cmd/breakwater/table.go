package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// table is aligned columns under a headline.
type table struct{ rows [][]string }

func newTable(headline ...string) *table { return &table{[][]string{headline}} }

func (t *table) row(cells ...string) {
	for i := range cells {
		cells[i] = clean(cells[i])
	}
	t.rows = append(t.rows, cells)
}

func (t *table) print(w io.Writer) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, cells := range t.rows {
		fmt.Fprintln(out, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	return out.Flush()
}

// clean keeps what others wrote (reasons, answers of origins) from steering the terminal or breaking a table.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return ' '
	}, text)
}

// size writes bytes as people read them, in binary units.
func size(n uint64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n)/1024, 0
	for value >= 1024 && unit < 4 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTP"[unit])
}

// duration writes the two largest units.
func duration(d time.Duration) string {
	switch {
	case d < 0:
		return "0s"
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 24*time.Hour:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%dd%02dh", int(d.Hours())/24, int(d.Hours())%24)
}

// since is the time from t to now; empty for the zero time.
func since(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return duration(time.Since(t))
}

// printRaw prints the JSON of the box as it is.
func printRaw(ctx context.Context, e *env, box *client, path string) error {
	var data []byte
	if err := box.get(ctx, path, &data); err != nil {
		return err
	}
	_, err := e.stdout.Write(data)
	return err
}
