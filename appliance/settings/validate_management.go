package settings

import (
	"net/netip"
	"net/url"
	"strings"
)

// The longest email address (RFC 5321 section 4.5.3.1, as erratum 1690 has it) and URL that is taken, in bytes.
const (
	maxEmail = 254
	maxURL   = 1024
)

func (v *validator) management() {
	v.managementInterfaces()
	v.managementNetworks()
	v.managementNames()
	v.acme()
}

func (v *validator) managementNetworks() {
	at := path("management").field("networks")
	v.s.Management.Networks = cut(v, at, v.s.Management.Networks, maxNetworks, "networks")
	for i, p := range v.s.Management.Networks {
		if !v.sound(at.index(i), p) {
			continue
		}
		for j, edge := range v.s.Edge.Addresses {
			if edge.Overlaps(p.Prefix) {
				v.add(at.index(i), "%q overlaps with the edge address %q (%s); clients must not be able to manage the box, so keep the two apart",
					p, edge, path("edge").field("addresses").index(j))
				break
			}
		}
	}
}

func (v *validator) managementNames() {
	at := path("management").field("names")
	v.s.Management.Names = cut(v, at, v.s.Management.Names, maxNames, "names")
	seen := map[string]path{}
	for i, name := range v.s.Management.Names {
		if wrong := pageNameProblem(name); wrong != "" {
			v.add(at.index(i), "%s", wrong)
			continue
		}
		v.once(at.index(i), name, seen)
	}
}

// acme judges an ACME of which at least one field is given; by then its directory has its default.
func (v *validator) acme() {
	a := v.s.Management.ACME
	if a == (ACME{}) {
		return
	}
	at := path("management").field("acme")
	if len(v.s.Management.Names) == 0 {
		v.add(path("management").field("names"), "is empty, and a certificate by ACME (%s) is for names; write the DNS names of this box, or leave ACME out", at)
	}
	if a.Email != "" && !isEmail(a.Email) {
		v.add(at.field("email"), "%s is not an email address; write it like \"admin@example.org\", or leave it out", quote(a.Email))
	}
	if !isDirectory(a.Directory) {
		v.add(at.field("directory"), "%s is not the URL of an ACME directory; it begins with https:// and has no password in it, like %q", quote(a.Directory), LetsEncrypt)
	}
}

// isEmail tells whether text is one plain address. Authorities take no others: no display names, quotes or comments
// (RFC 5321 section 4.1.2 without quoted strings and address literals).
func isEmail(text string) bool {
	local, domain, ok := strings.Cut(text, "@")
	return ok && len(text) <= maxEmail && local != "" && only(local, lower+upper+digits+"!#$%&'*+-/=?^_`{|}~.") &&
		isHostName(domain)
}

// isDirectory tells whether text is a URL of HTTPS: the account's key proves who we are, and what is asked of it must
// come from the authority (RFC 8555 section 6.1).
func isDirectory(text string) bool {
	u, err := url.Parse(text)
	return err == nil && len(text) <= maxURL && u.Scheme == "https" && u.User == nil && u.Fragment == "" && u.Opaque == "" &&
		(isHostName(u.Hostname()) || isAddress(u.Hostname()))
}

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}
