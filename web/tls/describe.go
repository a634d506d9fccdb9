package tls

import (
	"fmt"
	"slices"
	"time"

	"breakwater/appliance/health"
)

// Kind is where a certificate comes from.
type Kind string

// The kinds of certificates.
const (
	SelfSigned Kind = "self-signed"
	Own        Kind = "own"
	ACME       Kind = "acme"
)

// expiresSoon is how long before its end an own certificate is a warning: long enough to have one issued by people.
const expiresSoon = 21 * 24 * time.Hour

// Certificate is what an operator sees of one.
type Certificate struct {
	Kind        Kind      `json:"kind"`
	Names       []string  `json:"names"`
	Issuer      string    `json:"issuer,omitempty"`
	NotBefore   time.Time `json:"notBefore,omitzero"` // zero: there is none yet
	NotAfter    time.Time `json:"notAfter,omitzero"`
	Fingerprint string    `json:"fingerprint,omitempty"` // SHA-256, 64 hex digits
	Words       []string  `json:"words,omitempty"`       // of the fingerprint, to compare at a glance
	InUse       bool      `json:"inUse"`                 // clients get it for at least one of its names
	Problem     string    `json:"problem,omitempty"`     // why it is not there or not good, in a sentence
}

// Describe lists the certificates: the self-signed one, then the own one if there is one, then one for each name that
// ACME is to certify, also while there is none yet.
func (c *Certificates) Describe() []Certificate {
	list := []Certificate{c.describe(SelfSigned, c.selfSigned())}
	c.mu.RLock()
	own, flaw, a := c.own, c.ownFlaw, c.acme
	c.mu.RUnlock()
	if own != nil {
		list = append(list, c.describe(Own, own))
	} else if flaw != "" {
		list = append(list, Certificate{Kind: Own, Problem: "It cannot be read; upload it again. " + flaw})
	}
	if a == nil {
		return list
	}
	problems := a.failures()
	for _, name := range a.names {
		d := Certificate{Kind: ACME, Names: []string{name}}
		if p := a.pair(name); p != nil {
			d = c.describe(ACME, p)
		}
		if problems[name] != "" {
			d.Problem = problems[name]
		}
		list = append(list, d)
	}
	return list
}

func (c *Certificates) describe(kind Kind, p *pair) Certificate {
	d := Certificate{
		Kind: kind, Names: p.names(), Issuer: printable(p.leaf.Issuer.String()),
		NotBefore: p.leaf.NotBefore, NotAfter: p.leaf.NotAfter,
		Fingerprint: p.fingerprint, Words: p.words(),
		InUse: slices.ContainsFunc(p.names(), func(name string) bool { return c.choose(name).fingerprint == p.fingerprint }),
	}
	switch now := c.now(); {
	case now.After(p.leaf.NotAfter):
		d.Problem = fmt.Sprintf("It ended at %s.", moment(p.leaf.NotAfter))
	case now.Before(p.leaf.NotBefore) && now.After(epoch()):
		d.Problem = fmt.Sprintf("It begins at %s, and the clock of the box shows %s.", moment(p.leaf.NotBefore), moment(now))
	}
	return d
}

// Conditions are what is wrong with the certificates now.
func (c *Certificates) Conditions() []health.Condition {
	c.mu.RLock()
	own, flaw, a := c.own, c.ownFlaw, c.acme
	c.mu.RUnlock()
	list := slices.Concat(c.ownConditions(own, flaw), c.acmeConditions(a))
	for _, old := range c.conditions.List() {
		if !slices.ContainsFunc(list, func(n health.Condition) bool { return n.Code == old.Code && n.Subject == old.Subject }) {
			c.conditions.Clear(old.Code, old.Subject)
		}
	}
	for _, condition := range list {
		c.conditions.Raise(condition) // keeps since when it is so
	}
	return c.conditions.List()
}

func (c *Certificates) ownConditions(own *pair, flaw string) []health.Condition {
	switch {
	case flaw != "":
		return []health.Condition{{
			Code: "certificate-unreadable", Subject: string(Own), Severity: health.Warning,
			Title:  "The own certificate cannot be read",
			Detail: "The self-signed certificate is shown instead. Upload the own one again, or remove it. Seen: " + printable(flaw),
		}}
	case own == nil:
		return nil
	case c.now().After(own.leaf.NotAfter):
		return []health.Condition{{
			Code: "certificate-expired", Subject: string(Own), Severity: health.Critical,
			Title:  "The own certificate has ended",
			Detail: fmt.Sprintf("It was valid until %s, and browsers refuse it. Upload a new one, or remove it to go back to the self-signed one.", moment(own.leaf.NotAfter)),
		}}
	case c.now().Add(expiresSoon).After(own.leaf.NotAfter):
		return []health.Condition{{
			Code: "certificate-expires", Subject: string(Own), Severity: health.Warning,
			Title:  "The own certificate ends soon",
			Detail: fmt.Sprintf("It is valid until %s. Have a new one issued and upload it.", moment(own.leaf.NotAfter)),
		}}
	}
	return nil
}

func (c *Certificates) acmeConditions(a *authority) []health.Condition {
	if a == nil {
		return nil
	}
	if len(a.names) == 0 {
		return []health.Condition{{
			Code: "acme", Severity: health.Warning, Title: "There is no name to get a certificate for",
			Detail: fmt.Sprintf("ACME is on, but none of the management names is one that %s certifies. Add a public DNS name of this box to them, or leave ACME out.", a.directory),
		}}
	}
	var list []health.Condition
	problems := a.failures()
	for _, name := range a.names {
		if why := problems[name]; why != "" {
			list = append(list, c.acmeCondition(a, name, why))
		}
	}
	return list
}

func (c *Certificates) acmeCondition(a *authority, name, why string) health.Condition {
	condition := health.Condition{
		Code: "acme", Subject: name, Severity: health.Warning, Title: "No certificate for " + name + " by ACME",
	}
	state := "Browsers get another certificate meanwhile."
	if p := a.pair(name); p != nil {
		condition.Title = "The certificate for " + name + " was not renewed"
		state = fmt.Sprintf("The one there is ends at %s.", moment(p.leaf.NotAfter))
		if !p.validAt(c.now()) {
			condition.Severity = health.Critical
		}
	}
	condition.Detail = fmt.Sprintf("Asking %s came to: %s %s It is tried again by itself. The authority connects to port 443 of %s: check that the name leads to this box, and that port to this page.",
		a.directory, sentence(why), state, name)
	return condition
}

// sentence ends text as one.
func sentence(text string) string {
	if text == "" || text[len(text)-1] == '.' {
		return text
	}
	return text + "."
}
