package incident

import (
	"fmt"
	"strings"
	"time"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// names are the vectors in words.
var names = map[status.Vector]string{
	status.VectorSYN:        "SYN flood",
	status.VectorACK:        "ACK flood",
	status.VectorRST:        "RST flood",
	status.VectorFIN:        "FIN flood",
	status.VectorFlags:      "Flood of impossible TCP flags",
	status.VectorUDP:        "UDP flood",
	status.VectorReflection: "Reflection flood",
	status.VectorQuery:      "Query flood",
	status.VectorFragment:   "Fragment flood",
	status.VectorICMP:       "ICMP flood",
	status.VectorOther:      "Flood of other packets",
	status.VectorConnection: "Flood of connections",
	VectorCarpet:            "Flood over many addresses",
}

// Title names it on one line: "SYN flood on web".
func (i *Incident) Title() string {
	name, known := names[i.Vector]
	if !known {
		name = names[status.VectorOther]
	}
	switch n := len(i.Services); {
	case n == 0:
		return name
	case n <= 3:
		return name + " on " + strings.Join(i.Services, ", ")
	default:
		return fmt.Sprintf("%s on %d services", name, n)
	}
}

// Words tell it to people, one thing a line.
func (i *Incident) Words() []string {
	lines := []string{i.course()}
	lines = append(lines, i.defence()...)
	for _, l := range i.Lines {
		lines = append(lines, l.Words())
	}
	if s := i.Evidence.words(); s != "" {
		lines = append(lines, s)
	}
	if i.Note != "" {
		lines = append(lines, i.Note)
	}
	return lines
}

func (i *Incident) course() string {
	what := "packets"
	if i.Vector == status.VectorConnection {
		what = "connections"
	}
	peak := fmt.Sprintf("%s %s a second", number(i.Peak.Packets), what)
	if i.Peak.Bits > 0 {
		peak += fmt.Sprintf(" (%s)", bits(i.Peak.Bits))
	}
	if i.Open() {
		return fmt.Sprintf("It began at %s and has come to %s.", i.Start.UTC().Format("15:04:05 MST"), peak)
	}
	return fmt.Sprintf("It lasted %s, from %s to %s, and came to %s.", time.Duration(i.Seconds)*time.Second, i.Start.UTC().Format("15:04:05"), i.End.UTC().Format("15:04:05 MST"), peak)
}

func (i *Incident) defence() []string {
	var lines []string
	switch {
	case i.Mode == plan.ShieldMonitor:
		lines = append(lines, fmt.Sprintf("The shield is in mode monitor and lets everything pass. It would have dropped %s of %s packets.", number(float64(i.Totals.Would)), number(float64(i.Totals.Packets))))
	case i.Mode == plan.ShieldOff:
		lines = append(lines, "The shield is off.")
	case i.Totals.Dropped > 0:
		lines = append(lines, fmt.Sprintf("The shield dropped %s of %s packets.", number(float64(i.Totals.Dropped)), number(float64(i.Totals.Packets))))
	}
	cookies, lookup := false, false
	for _, a := range i.Actions {
		cookies = cookies || a.Vector == status.VectorSYN
		lookup = lookup || a.Vector != status.VectorSYN
	}
	if cookies {
		lines = append(lines, "SYN cookies were armed.")
	}
	if lookup {
		lines = append(lines, "Packets without a session were turned away.")
	}
	return lines
}

// Words say what can be done about it.
func (l Line) Words() string {
	if l.Full {
		return fmt.Sprintf("The line at %s itself is full; no filter behind it can help, ask your provider.", l.Interface)
	}
	return fmt.Sprintf("The network port %s loses packets before the shield sees them: they come faster than this machine takes them.", l.Interface)
}

func (e *Evidence) words() string {
	if len(e.Networks) == 0 || e.Samples == 0 {
		return ""
	}
	first := e.Networks[0]
	part := 100 * float64(first.Count-first.Error) / float64(e.Samples)
	if e.Proven {
		return fmt.Sprintf("Most connections come from %s (%.0f %%).", first.Value, part)
	}
	return fmt.Sprintf("Most packets claim to come from %s (%.0f %%); these addresses may be forged.", first.Value, part)
}

// number writes 52000 as 52,000.
func number(n float64) string {
	text := fmt.Sprintf("%.0f", n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

func bits(n float64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f Gbit/s", n/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f Mbit/s", n/1e6)
	}
	return fmt.Sprintf("%.0f kbit/s", n/1e3)
}
