package pages

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
	"time"
)

// functions are what templates may call. They word things; decisions belong into the views.
func (p *Pages) functions() template.FuncMap {
	return template.FuncMap{
		"t":        p.text.say,
		"n":        p.text.count,
		"asset":    p.assets.address,
		"bytes":    bytesText,
		"rate":     func(v float64) string { return bytesText(v) + "/s" },
		"each":     func(v float64) string { return eachText(v) + "/s" },
		"bits":     bitsText,
		"number":   numberText,
		"duration": durationText,
		"ago":      func(t time.Time) string { return durationText(time.Since(t)) },
		"seconds":  func(d time.Duration) int { return int(d.Seconds()) },
		"time":     timeElement,
		"field":    p.field,
		"choice":   p.choice,
		"checks":   p.checks,
		"words":    p.words,
		"browser":  browserText,
		"dict":     dict,
	}
}

// bytesText writes an amount of bytes with a unit: 1.5 kB, decimal as network rates are.
func bytesText(v any) string {
	value := toFloat(v)
	for _, unit := range []string{"B", "kB", "MB", "GB", "TB"} {
		if value < 1000 || unit == "TB" {
			return short(value) + " " + unit
		}
		value /= 1000
	}
	return ""
}

// bitsText writes a rate of bits: 1.5 Gbit/s.
func bitsText(value float64) string {
	for _, unit := range []string{"bit/s", "kbit/s", "Mbit/s"} {
		if value < 1000 {
			return short(value) + " " + unit
		}
		value /= 1000
	}
	return short(value) + " Gbit/s"
}

// short keeps three digits: 1.23, 12.3, 123.
func short(v float64) string {
	switch {
	case v >= 100 || v == float64(int64(v)):
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 10:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// numberText groups digits by thin spaces: 12 345.
func numberText(v any) string {
	digits := strconv.FormatFloat(toFloat(v), 'f', 0, 64)
	var grouped strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 && digits[i-1] != '-' {
			grouped.WriteRune('\u202f')
		}
		grouped.WriteRune(d)
	}
	return grouped.String()
}

// eachText writes how many things happen in a second.
func eachText(v float64) string {
	if v < 1000 {
		return short(v)
	}
	return numberText(v)
}

func numberPlain(n int64) string { return strconv.FormatInt(n, 10) }

func toFloat(v any) float64 {
	switch v := v.(type) {
	case int:
		return float64(v)
	case int64:
		return float64(v)
	case uint64:
		return float64(v)
	case float64:
		return v
	}
	return 0
}

// durationText keeps the two largest units: 3 d 4 h, 1 min 20 s.
func durationText(d time.Duration) string {
	if d < time.Second {
		return strconv.FormatInt(max(0, d.Milliseconds()), 10) + " ms"
	}
	units := []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}}
	for i, u := range units {
		if d < u.size {
			continue
		}
		text := fmt.Sprintf("%d %s", d/u.size, u.name)
		if i+1 < len(units) && d%u.size >= units[i+1].size {
			text += fmt.Sprintf(" %d %s", d%u.size/units[i+1].size, units[i+1].name)
		}
		return text
	}
	return ""
}

// timeElement is a moment in UTC; time.js makes it local and keeps UTC as its title.
func timeElement(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s UTC</time>`, t.Format(time.RFC3339), t.Format(time.DateTime))) //nolint:gosec // digits only
}

// dict passes several things to a partial: {{template "_x" (dict "Name" .Name "Rows" .Rows)}}.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("dict: %d arguments", len(pairs))
	}
	m := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict: %v is no name", pairs[i])
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}
