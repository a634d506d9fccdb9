package pages

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
)

// maxLogLines bounds the page; both processes together keep about three times as many.
const maxLogLines = 300

// logLevels are the words for how bad a line is at least, and what they let through.
var logLevels = map[string][]string{
	"all":     nil,
	"info":    {"INFO", "WARN", "ERROR"},
	"warning": {"WARN", "ERROR"},
	"error":   {"ERROR"},
}

// logsView is what both processes said lately.
type logsView struct {
	Form    form
	Lines   []logLine
	Matched int
	All     int
}

// logLine is a line with its values in a fixed order.
type logLine struct {
	control.LogLine
	Values []logValue
}

type logValue struct{ Name, Value string }

// Logs shows the last lines of both processes, the newest first.
func (p *Pages) Logs(c echo.Context) error {
	f := form{Values: url.Values{"level": {c.QueryParam("level")}, "process": {c.QueryParam("process")}, "search": {c.QueryParam("search")}}}
	if _, known := logLevels[f.Value("level")]; !known {
		f.Values.Set("level", "all")
	}
	lines, err := p.Control.Logs(c.Request().Context())
	if err != nil {
		return err
	}
	view := logsView{Form: f, All: len(lines)}
	for _, line := range slices.Backward(lines) {
		if !logMatches(line, f) {
			continue
		}
		if view.Matched++; len(view.Lines) < maxLogLines {
			view.Lines = append(view.Lines, logLineOf(line))
		}
	}
	return p.render(c, http.StatusOK, "logs", view)
}

// logMatches tells whether a line is asked for: its level, its process, and every word that was searched for.
func logMatches(line control.LogLine, f form) bool {
	if levels := logLevels[f.Value("level")]; levels != nil && !slices.Contains(levels, line.Level) {
		return false
	}
	if process := f.Value("process"); process != "" && process != "both" && process != line.Process {
		return false
	}
	for word := range strings.FieldsSeq(strings.ToLower(f.Value("search"))) {
		if !saysWord(line, word) {
			return false
		}
	}
	return true
}

// saysWord tells whether a word, in lower case, is in the message or in a value; name=value finds that value.
func saysWord(line control.LogLine, word string) bool {
	if strings.Contains(strings.ToLower(line.Message), word) {
		return true
	}
	for name, value := range line.Attrs {
		if strings.Contains(strings.ToLower(name+"="+value), word) {
			return true
		}
	}
	return false
}

func logLineOf(line control.LogLine) logLine {
	out := logLine{LogLine: line}
	for name, value := range line.Attrs {
		out.Values = append(out.Values, logValue{name, value})
	}
	slices.SortFunc(out.Values, func(a, b logValue) int { return strings.Compare(a.Name, b.Name) })
	return out
}
