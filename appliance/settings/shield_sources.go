package settings

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// SourceRule lets the clients of a prefix in, or turns them away.
type SourceRule struct {
	Prefix Prefix `json:"prefix"`
	Note   string `json:"note,omitempty"` // why, for whoever reads the settings
}

// List is a list of prefixes that somebody else keeps: an address or prefix on each line.
type List struct {
	Name    string   `json:"name"`
	URL     string   `json:"url,omitempty"`    // https or http; left out: the list is uploaded
	Action  string   `json:"action,omitempty"` // deny (default), allow
	Refresh Duration `json:"refresh,omitzero"` // how often the URL is asked; default 24h
	Expiry  Duration `json:"expiry,omitzero"`  // from a URL: it is not used once that long nothing came from there; default 168h
}

// Countries are rules about where addresses are used, as a file says (MMDB). Without that file they have no effect.
type Countries struct {
	Deny  []string `json:"deny,omitempty"`  // codes of two letters (ISO 3166-1), such as "AQ"
	Allow []string `json:"allow,omitempty"` // only these; addresses of networks at home are let in as well
	URL   string   `json:"url,omitempty"`   // of the file, https or http; left out: it is uploaded
}

// Networks are rules about autonomous systems, as a file says (MMDB). Without that file they have no effect.
type Networks struct {
	Deny  []int  `json:"deny,omitempty"`  // AS numbers
	Allow []int  `json:"allow,omitempty"` // AS numbers whose country does not matter
	URL   string `json:"url,omitempty"`   // of the file, https or http; left out: it is uploaded
}

// The most of each, and the widest prefixes of a rule: those of bans.
const (
	maxSourceRules = 2048 // of each of allow and deny
	maxNote        = 200  // bytes
	maxLists       = 32
	maxCountries   = 249
	maxASNs        = 1024

	widestRule4, widestRule6 = 8, 16
)

func (l List) withDefaults() List {
	l.Action = cmp.Or(l.Action, "deny")
	if l.URL != "" {
		l.Refresh = cmp.Or(l.Refresh, Duration(24*time.Hour))
		l.Expiry = cmp.Or(l.Expiry, Duration(7*24*time.Hour))
	}
	return l
}

// sourceDefaults spells out the defaults of lists.
func (s Shield) sourceDefaults() Shield {
	s.Lists = slices.Clone(s.Lists)
	for i := range s.Lists {
		s.Lists[i] = s.Lists[i].withDefaults()
	}
	return s
}

// sourceNormal has one spelling for an empty list.
func (s Shield) sourceNormal() Shield {
	s.Allow, s.Deny, s.Lists = optional(s.Allow), optional(s.Deny), optional(s.Lists)
	s.Countries.Deny, s.Countries.Allow = optional(s.Countries.Deny), optional(s.Countries.Allow)
	s.Networks.Deny, s.Networks.Allow = optional(s.Networks.Deny), optional(s.Networks.Allow)
	return s
}

func (v *validator) sources(at path, s Shield) {
	v.sourceRules(at.field("allow"), s.Allow, nil)
	v.sourceRules(at.field("deny"), s.Deny, v.needed())
	seen := map[string]path{}
	for i, l := range cut(v, at.field("lists"), s.Lists, maxLists, "lists") {
		at := at.field("lists").index(i)
		v.sourceList(at, l)
		v.unique(at.field("name"), l.Name, seen)
	}
	v.countries(at.field("countries"), s.Countries)
	v.networks(at.field("networks"), s.Networks)
}

// needed is a prefix that must not be denied.
type needed struct {
	prefix netip.Prefix
	what   string
}

// needed are the addresses without which the box, its operator or its origins cannot work.
func (v *validator) needed() (list []needed) {
	for _, p := range v.s.Management.Networks {
		list = append(list, needed{p.Prefix, "a management network"})
	}
	for _, p := range v.s.Edge.Addresses {
		list = append(list, needed{p.Prefix, "an edge address"})
	}
	for _, s := range v.s.DNS.Servers {
		a := netip.AddrPort(s).Addr()
		list = append(list, needed{netip.PrefixFrom(a, a.BitLen()), "a DNS server of this box"})
	}
	for _, i := range v.s.Host.Interfaces {
		for _, g := range i.Gateways {
			list = append(list, needed{netip.PrefixFrom(g.Addr, g.BitLen()), "a gateway of this box"})
		}
	}
	for _, s := range v.s.Services {
		for _, u := range s.Upstreams {
			list = append(list, needed{u.Prefix, "a load balancer in front of service " + s.Name})
		}
	}
	for _, p := range v.s.Pools {
		for _, o := range p.Origins {
			if a, err := netip.ParseAddr(o.Address); err == nil {
				list = append(list, needed{netip.PrefixFrom(a, a.BitLen()), "origin " + o.Name})
			}
		}
	}
	return list
}

func (v *validator) sourceRules(at path, rules []SourceRule, keep []needed) {
	seen := map[string]path{}
	for i, r := range cut(v, at, rules, maxSourceRules, "rules") {
		at := at.index(i)
		if len(r.Note) > maxNote {
			v.add(at.field("note"), "has %d bytes; at most %d are kept", len(r.Note), maxNote)
		}
		at = at.field("prefix")
		if !v.sound(at, r.Prefix) {
			continue
		}
		v.once(at, r.Prefix.String(), seen)
		widest := widestRule6
		if r.Prefix.Addr().Is4() {
			widest = widestRule4
		}
		if r.Prefix.Bits() < widest {
			v.add(at, "%q is too wide for a rule, as it holds a large part of all clients; write networks of at least /%d", r.Prefix, widest)
			continue
		}
		v.keeps(at, r.Prefix, keep)
	}
}

// keeps reports a rule that turns away what is needed.
func (v *validator) keeps(at path, p Prefix, keep []needed) {
	for _, k := range keep {
		if k.prefix.IsValid() && k.prefix.Overlaps(p.Prefix) {
			v.add(at, "%q holds %q, %s, which must not be turned away; leave that out", p, k.prefix, k.what)
			return
		}
	}
}

func (v *validator) sourceList(at path, l List) {
	if wrong := nameProblem(l.Name, maxName); wrong != "" {
		v.add(at.field("name"), "%s", wrong)
	}
	v.oneOf(at.field("action"), l.Action, "deny", "allow")
	v.fileURL(at.field("url"), l.URL, "a list", "https://lists.example.org/drop.txt")
	if l.URL == "" {
		if l.Refresh != 0 || l.Expiry != 0 {
			v.add(at.field("url"), "is left out, so nothing can be fetched again; write where the list is, or leave out refresh and expiry")
		}
		return
	}
	v.lasts(at.field("refresh"), time.Duration(l.Refresh), 5*time.Minute, 30*24*time.Hour)
	v.lasts(at.field("expiry"), time.Duration(l.Expiry), time.Hour, 365*24*time.Hour)
	if l.Expiry <= l.Refresh {
		v.add(at.field("expiry"), "%q is not longer than refresh, %q, so the list would be over before it is asked for again", l.Expiry, l.Refresh)
	}
}

func (v *validator) fileURL(at path, text, what, example string) {
	if text != "" && !isUpdateURL(text) {
		v.add(at, "%s is not where %s comes from; it begins with https:// or http:// and has no password in it, like %q", quote(text), what, example)
	}
}

func (v *validator) countries(at path, c Countries) {
	v.countryCodes(at.field("deny"), c.Deny)
	v.countryCodes(at.field("allow"), c.Allow)
	for i, code := range c.Deny {
		if slices.Contains(c.Allow, code) {
			v.add(at.field("deny").index(i), "%s is in allow as well; keep one of them", quote(code))
		}
	}
	v.fileURL(at.field("url"), c.URL, "the file of countries", "https://geo.example.org/country.mmdb")
}

func (v *validator) countryCodes(at path, codes []string) {
	seen := map[string]path{}
	for i, code := range cut(v, at, codes, maxCountries, "countries") {
		if len(code) != 2 || !strings.Contains(countryCodes, code+" ") || strings.ContainsAny(code, " ") {
			v.add(at.index(i), "%s is not the code of a country; write its two capital letters (ISO 3166-1), like \"DE\"", quote(code))
		}
		v.once(at.index(i), code, seen)
	}
}

func (v *validator) networks(at path, n Networks) {
	for _, list := range []struct {
		at   path
		asns []int
	}{{at.field("deny"), n.Deny}, {at.field("allow"), n.Allow}} {
		seen := map[string]path{}
		for i, asn := range cut(v, list.at, list.asns, maxASNs, "AS numbers") {
			v.between(list.at.index(i), asn, 1, 1<<32-2, "") // RFC 7607, RFC 7300
			v.once(list.at.index(i), fmt.Sprint(asn), seen)
		}
	}
	for i, asn := range n.Deny {
		if slices.Contains(n.Allow, asn) {
			v.add(at.field("deny").index(i), "%d is in allow as well; keep one of them", asn)
		}
	}
	v.fileURL(at.field("url"), n.URL, "the file of AS numbers", "https://geo.example.org/asn.mmdb")
}

// countryCodes are those of ISO 3166-1, and XK, which files use for Kosovo.
const countryCodes = "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ " +
	"CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR " +
	"GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP " +
	"KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ " +
	"NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW " +
	"SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ " +
	"UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW "
