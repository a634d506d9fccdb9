package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// announce prints what the lab's user needs: a line for scripts, a sentence for logs, or a page for a person.
func announce(c Config, doc document, access Access) error {
	switch {
	case c.JSON:
	case c.Headless:
		_, err := fmt.Fprintf(c.Out, "The lab is ready. Its page is %s, with the setup code %s and the API token %s\n", access.URL, access.SetupCode, access.Token)
		return err
	default:
		_, err := fmt.Fprint(c.Out, page(c, doc, access))
		return err
	}
	r := Ready{
		Ready: true, URL: access.URL, Token: access.Token, SetupCode: access.SetupCode,
		Client: Host{Client, addrs(clientAddresses)},
		Edge:   Host{Edge, doc.dialled},
		Origin: Host{Origin, addrs(append(slices.Clone(originAddresses), doc.extraOrigins()...))},
	}
	line, err := json.Marshal(r)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(c.Out, "%s\n", line)
	return err
}

// page is what a person sees while the lab runs.
func page(c Config, doc document, access Access) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n  Breakwater lab\n\n")
	b.WriteString(picture(doc))
	fmt.Fprintf(&b, "\n  Page         %s\n  Setup code   %s, for the first account\n  API token    %s\n", access.URL, access.SetupCode, access.Token)
	fmt.Fprintf(&b, "  Certificate  its own, so your browser warns once; SHA-256\n               %s\n", access.Fingerprint)
	switch {
	case c.Empty:
		fmt.Fprintf(&b, "\n  The box is new: it proxies nothing until it is set up in the page. Its edge interface is %s; let it answer\n  on %s, and give it the origin %s.\n",
			wan, doc.dialled[0], originAddresses[0].Addr())
	case c.NoOrigin:
		fmt.Fprintf(&b, "\n  No origin runs. Start a server of your own:\n\n  ip netns exec %s COMMAND\n", Origin)
	case doc.isOurs:
		fmt.Fprintf(&b, "\n  Try it in another terminal. The origin answers with what it sees:\n")
		for _, t := range tries(doc) {
			fmt.Fprintf(&b, "\n  # %s\n  %s\n", t.says, t.command)
		}
	}
	fmt.Fprintf(&b, "\n  Ctrl-C removes everything.\n\n")
	return b.String()
}

// columnWidth fits the longest address of the lab's networks. Rows beyond maxRows are counted, not drawn.
const (
	columnWidth = 26
	maxRows     = 4
)

// picture draws the path of a packet, with the addresses of each host below its name.
func picture(doc document) string {
	const arrow = " ─────────────────────────"
	rows := []string{""}
	for i, column := range []struct {
		name, netns string
		addresses   []netip.Addr
	}{{"client", Client, addrs(clientAddresses)}, {"box", Edge, doc.dialled}, {"origin", Origin, addrs(originAddresses)}} {
		cells := []string{column.netns}
		for n, a := range column.addresses {
			if n == maxRows {
				cells = append(cells, fmt.Sprintf("and %d more", len(column.addresses)-n))
				break
			}
			cells = append(cells, a.String())
		}
		title := column.name
		if i < 2 {
			title += string([]rune(arrow)[:columnWidth-len(title)-2]) + "▶ "
		}
		for len(rows) <= len(cells) {
			rows = append(rows, strings.Repeat(" ", columnWidth*i))
		}
		rows[0] += title
		for r := range rows[1:] {
			cell := ""
			if r < len(cells) {
				cell = cells[r]
			}
			rows[r+1] += fmt.Sprintf("%-*s", columnWidth-1, cell) + " "
		}
	}
	var b strings.Builder
	for _, row := range rows {
		fmt.Fprintf(&b, "  %s\n", strings.TrimRight(row, " "))
	}
	return b.String()
}

type try struct{ says, command string }

// tries are commands that need nothing but bash, which every Debian has.
func tries(doc document) []try {
	v4, v6 := doc.dialled[0], doc.dialled[1]
	in := "ip netns exec " + Client + " bash -c "
	return []try{
		{"TCP, any port: PROXY v2", fmt.Sprintf("%s'head -n 1 < /dev/tcp/%s/443'", in, v4)},
		{"TCP over IPv6, port 25565: PROXY v1", fmt.Sprintf("%s'head -n 1 < /dev/tcp/%s/25565'", in, v6)},
		{"UDP, port 19132: PROXY v2 on every datagram", fmt.Sprintf("%s'exec 3<>/dev/udp/%s/19132; echo hello >&3; head -n 1 <&3'", in, v4)},
	}
}

func addrs(prefixes []netip.Prefix) []netip.Addr {
	list := make([]netip.Addr, 0, len(prefixes))
	for _, p := range prefixes {
		list = append(list, p.Addr())
	}
	return list
}
