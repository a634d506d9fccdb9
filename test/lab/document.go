package lab

import (
	_ "embed"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"

	"breakwater/appliance/settings"
)

// defaultDocument shows the box at work: every port with PROXY v2, one with v1, UDP with and without a header.
// Its amplification limit is raised, since the origin answers a word with a line of 150 bytes.
//
//go:embed settings.json
var defaultDocument []byte

// The addresses of the network. Edge addresses are those of the document.
var (
	clientAddresses = []netip.Prefix{netip.MustParsePrefix("198.18.1.2/24"), netip.MustParsePrefix("2001:db8:1::2/64")}
	wanAddresses    = []netip.Prefix{netip.MustParsePrefix("198.18.1.1/24"), netip.MustParsePrefix("2001:db8:1::1/64")}
	lanAddresses    = []netip.Prefix{netip.MustParsePrefix("198.18.2.1/24"), netip.MustParsePrefix("2001:db8:2::1/64")}
	originAddresses = []netip.Prefix{netip.MustParsePrefix("198.18.2.2/24"), netip.MustParsePrefix("2001:db8:2::2/64")}
)

// originName is what the origin calls itself where the document does not name it.
const originName = "games-1"

// document is what the lab applies, with what it must know of it.
type document struct {
	text    []byte
	isOurs  bool           // the default document, whose answer from the origin is known
	dialled []netip.Addr   // one address of each edge prefix
	origins []namedAddress // in the order of the document, then the origin's own
}

type namedAddress struct {
	name string
	addr netip.Addr
}

// readDocument reads and validates the document in file, or the default one. The error lists every problem.
func readDocument(file string) (document, error) {
	doc := document{text: defaultDocument, isOurs: file == ""}
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return doc, fmt.Errorf("read the settings: %w", err)
		}
		doc.text = text
	}
	s, problems := settings.Read(doc.text)
	if len(problems) > 0 {
		lines := []string{documentName(file) + " cannot be applied:"}
		for _, p := range problems {
			lines = append(lines, "  "+p.String())
		}
		return doc, errors.New(strings.Join(lines, "\n"))
	}
	s = s.WithDefaults()
	doc.dialled = dialled(s.Edge.Addresses)
	doc.origins = namedAddresses(s.Pools)
	return doc, nil
}

func documentName(file string) string {
	if file == "" {
		return "the lab's own document"
	}
	return file
}

// dialled names one address of each edge prefix for clients to dial: the address itself, or the first behind the
// network's.
func dialled(prefixes []settings.Prefix) []netip.Addr {
	addrs := make([]netip.Addr, 0, len(prefixes))
	for _, p := range prefixes {
		if p.IsSingleIP() {
			addrs = append(addrs, p.Addr())
			continue
		}
		addrs = append(addrs, p.Masked().Addr().Next())
	}
	return addrs
}

// namedAddresses lists where the lab's origin has to answer: every origin that is an IP address, so that any
// document finds its origins here, and the two addresses bw-origin always has.
func namedAddresses(pools []settings.Pool) []namedAddress {
	var named []namedAddress
	add := func(name string, addr netip.Addr) {
		known := slices.ContainsFunc(named, func(n namedAddress) bool { return n.addr == addr })
		if !known {
			named = append(named, namedAddress{name, addr})
		}
	}
	for _, pool := range pools {
		for _, o := range pool.Origins {
			if addr, err := netip.ParseAddr(o.Address); err == nil {
				add(o.Name, addr)
			}
		}
	}
	for _, p := range originAddresses {
		add(originName, p.Addr())
	}
	return named
}

// extraOrigins are the addresses that bw-origin has for this document only.
func (d document) extraOrigins() []netip.Prefix {
	var extra []netip.Prefix
	for _, o := range d.origins {
		if !slices.ContainsFunc(originAddresses, func(p netip.Prefix) bool { return p.Addr() == o.addr }) {
			extra = append(extra, netip.PrefixFrom(o.addr, o.addr.BitLen()))
		}
	}
	return extra
}

// originArgs is the command line of the lab's origin.
func originArgs(doc document) []string {
	args := []string{"lab-origin", "--interface", outside}
	for _, o := range doc.origins {
		args = append(args, "--answer", o.addr.String()+"="+o.name)
	}
	return args
}
