package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"

	"breakwater/appliance/host"
	"breakwater/appliance/settings"
	webtls "breakwater/web/tls"
)

// text is the screen, at most 80 columns wide but for names and addresses that are longer.
func (s screen) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n%s\n", s.title(), s.state())
	b.WriteString(s.way())
	b.WriteString(portText(slices.Concat(s.ports, s.made)))
	if s.stick != "" {
		fmt.Fprintf(&b, "\n%s\n", clean(s.stick))
	}
	if s.trouble == nil && len(s.status.Conditions) > 0 {
		printConditions(&b, s.status.Conditions)
	}
	if len(s.log) > 0 {
		b.WriteString("\nThe end of its log:\n")
	}
	for _, line := range s.log {
		fmt.Fprintf(&b, "  %s\n", clean(line))
	}
	return b.String()
}

func (s screen) title() string {
	t := "Breakwater " + cmp.Or(s.system.Version, s.status.Version)
	if s.system.Slot != "" {
		t += ", slot " + s.system.Slot
	}
	if len(s.system.Failed) > 0 {
		t += fmt.Sprintf("\n\nVersion %s is newer and not started: it was never found healthy, or this one was chosen instead.", clean(strings.Join(s.system.Failed, ", ")))
	}
	return t
}

// state begins with READY when the page can be opened.
func (s screen) state() string {
	if s.trouble != nil {
		return "STARTING  The web page is not up yet: " + clean(s.trouble.Error())
	}
	if s.status.InForce && s.status.Pending == nil { // without the time since when, which would be another screen each second
		return fmt.Sprintf("READY  Revision %d is in force.", s.status.Revision)
	}
	return "READY  " + headline(s.status)
}

// way is how to get into the page, and how to know that it is this box.
func (s screen) way() string {
	if s.trouble != nil {
		return ""
	}
	var b strings.Builder
	row := func(name, value string) { fmt.Fprintf(&b, "%-13s%s\n", name, value) }
	b.WriteByte('\n')
	urls := s.pageURLs()
	if len(urls) == 0 {
		row("Web page", "no network port has an address yet")
	}
	for i, u := range urls {
		row([]string{"Web page", ""}[min(i, 1)], u)
	}
	if c := selfSigned(s.certificates); len(c.Fingerprint) == 64 {
		row("Certificate", pairs(c.Fingerprint[:32]))
		row("SHA-256", pairs(c.Fingerprint[32:]))
		row("in words", strings.Join(c.Words, " "))
	}
	switch {
	case s.setup.Claimed:
	case s.setup.Code == "":
		row("Setup code", "used up by wrong tries; start the box again for a new one")
	default:
		row("Setup code", s.setup.Code)
	}
	return b.String()
}

// pageURLs are where the page is reached. Edge addresses are the players', but where the box has no other.
func (s screen) pageURLs() []string {
	var own, edge []string
	for _, p := range host.Answering(s.settings, slices.Concat(s.ports, s.made)) {
		for _, a := range p.Addresses {
			ip := a.Addr()
			if ip.Is6() && ip.IsLinkLocalUnicast() {
				continue // browsers do not take these
			}
			list := &own
			if slices.ContainsFunc(s.settings.Edge.Addresses, func(e settings.Prefix) bool { return e.Contains(ip) }) {
				list = &edge
			}
			*list = append(*list, "https://"+strings.TrimSuffix(net.JoinHostPort(ip.String(), ""), ":")+"/")
		}
	}
	if len(own) == 0 {
		return edge
	}
	return own
}

// selfSigned is the certificate that everybody gets who opens the page by an address.
func selfSigned(certificates []webtls.Certificate) webtls.Certificate {
	for _, c := range certificates {
		if c.Kind == webtls.SelfSigned {
			return c
		}
	}
	return webtls.Certificate{}
}

// pairs writes hexadecimal digits as browsers do.
func pairs(digits string) string {
	var list []string
	for i := 0; i+2 <= len(digits); i += 2 {
		list = append(list, strings.ToUpper(digits[i:i+2]))
	}
	return strings.Join(list, ":")
}

func portText(ports []host.Port) string {
	if len(ports) == 0 {
		return "\nNetwork      no port was found\n"
	}
	var b strings.Builder
	b.WriteByte('\n')
	for i, p := range ports {
		fmt.Fprintf(&b, "%-13s%-10s %s  %s\n", []string{"Network", ""}[min(i, 1)], p.Name, p.MAC, linkText(p))
		for _, a := range p.Addresses {
			fmt.Fprintf(&b, "%-24s%s\n", "", a)
		}
	}
	return b.String()
}

func linkText(p host.Port) string {
	switch {
	case !p.Link:
		return "no link"
	case p.Speed == 0:
		return "link"
	}
	return fmt.Sprintf("link, %d Mbit/s", p.Speed)
}
