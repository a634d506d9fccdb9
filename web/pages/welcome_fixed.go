package pages

import (
	"net"
	"net/netip"
	"net/url"
	"slices"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
)

// fixedFields are the answers about the address of the machine.
var fixedFields = []string{"fixedPort", "fixed", "gateway", "servers"}

// fixedView offers a fixed address to the port by which the browser came in.
type fixedView struct {
	Port string // empty: it is not known
	Now  string // the address that the browser reached, with the length of its network
}

// offerFixed is nil where there is nothing to offer: the machine is not ours, or the port has fixed addresses already.
func (p *Pages) offerFixed(c echo.Context) (*fixedView, error) {
	if _, appliance := p.Control.System(); !appliance {
		return nil, nil
	}
	now, _, err := p.current()
	if err != nil {
		return nil, err
	}
	seen, err := p.status(c.Request().Context())
	if err != nil {
		return nil, err
	}
	here := localAddr(c)
	rows := p.portRows(now.Host.Interfaces, seen.Edge, here)
	at := slices.IndexFunc(rows, func(r portRow) bool { return r.Here })
	if at < 0 {
		return &fixedView{}, nil
	}
	port := rows[at]
	if of := interfaceAt(now, port.Name); of >= 0 && len(now.Host.Interfaces[of].Addresses) > 0 {
		return nil, nil
	}
	reached := slices.IndexFunc(port.Seen.Addresses, func(a netip.Prefix) bool { return a.Addr() == here })
	return &fixedView{port.Name, port.Seen.Addresses[reached].String()}, nil
}

// withFixed gives the port of the answers its address, and returns the place of its settings; -1: it was not asked for.
func withFixed(t *typed, s *settings.Settings) int {
	port := t.text("fixedPort")
	if port == "" || t.text("fixed")+t.text("gateway") == "" {
		return -1
	}
	draft, at := withInterface(*s, port)
	own := &draft.Host.Interfaces[at]
	own.Name, own.Addresses, own.Gateways = port, list[settings.Address](t, "fixed"), list[settings.Addr](t, "gateway")
	draft.DNS.Servers = list[settings.Server](t, "servers")
	*s = draft
	return at
}

// fixedInWords tells of the address, and where the page is afterwards if that is elsewhere.
func (p *Pages) fixedInWords(c echo.Context, values url.Values) []string {
	t := typed{values: values}
	addresses := list[settings.Address](&t, "fixed")
	if t.text("fixedPort") == "" || len(addresses) == 0 {
		return nil
	}
	words := []string{p.text.say("welcome.sum.fixed", t.text("fixedPort"), joined(addresses))}
	if here := localAddr(c); !slices.ContainsFunc(addresses, func(a settings.Address) bool { return a.Addr() == here }) {
		words = append(words, p.text.say("welcome.sum.moves", pageAt(addresses[0].Addr(), c.Request().Host)))
	}
	return words
}

// pageAt is the address of the page at another address of the box, on the port that a browser asked for.
func pageAt(a netip.Addr, host string) string {
	at := url.URL{Scheme: "https", Host: a.String()}
	if a.Is6() {
		at.Host = "[" + at.Host + "]"
	}
	if _, port, err := net.SplitHostPort(host); err == nil {
		at.Host += ":" + port
	}
	return at.String()
}
