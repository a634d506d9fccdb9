package lab

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// announce prints what the lab's user needs: a line for scripts, or a page for a person.
func announce(c Config, doc document, access Access) error {
	if !c.JSON {
		_, err := fmt.Fprint(c.Out, page(c, doc, access))
		return err
	}
	r := Ready{
		Ready: true, URL: access.URL, Token: access.Token,
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
	fmt.Fprintf(&b, "\n  API    %s\n  Token  %s\n", access.URL, access.Token)
	if doc.isOurs && !c.NoOrigin {
		fmt.Fprintf(&b, "\n  Try it in another terminal. The origin answers with what it sees:\n")
		for _, t := range tries(doc) {
			fmt.Fprintf(&b, "\n  # %s\n  %s\n", t.says, t.command)
		}
	}
	fmt.Fprintf(&b, "\n  Ctrl-C removes everything.\n\n")
	return b.String()
}

// picture draws the path of a packet, with the addresses of each host below its name.
func picture(doc document) string {
	columns := [3][]string{
		{"client", Client},
		{"the box", Edge},
		{"origin", Origin},
	}
	for i, list := range [][]netip.Addr{addrs(clientAddresses), doc.dialled, addrs(originAddresses)} {
		for _, a := range list {
			columns[i] = append(columns[i], a.String())
		}
	}
	var b strings.Builder
	for row := range max(len(columns[0]), len(columns[1]), len(columns[2])) {
		join := "        "
		if row == 0 {
			join = " ─────▶ "
		}
		cells := make([]string, len(columns))
		for i, column := range columns {
			if row < len(column) {
				cells[i] = column[row]
			}
		}
		line := fmt.Sprintf("  %-16s%s%-16s%s%s", cells[0], join, cells[1], join, cells[2])
		b.WriteString(strings.TrimRight(line, " ") + "\n")
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
