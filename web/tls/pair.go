package tls

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// pair is a certificate chain with its key. It does not change.
type pair struct {
	certificate tls.Certificate
	leaf        *x509.Certificate
	fingerprint string
	words       func() []string // computed once, as it takes its time
}

func newPair(certificate tls.Certificate) *pair {
	leaf := certificate.Leaf
	return &pair{
		certificate: certificate,
		leaf:        leaf,
		fingerprint: Fingerprint(leaf.Raw),
		words:       sync.OnceValue(func() []string { return words(leaf.Raw) }),
	}
}

// parsePair reads a chain and a key of our own making or already checked.
func parsePair(chainPEM, keyPEM []byte) (*pair, error) {
	certificate, err := tls.X509KeyPair(chainPEM, keyPEM)
	if err != nil {
		return nil, err
	}
	return newPair(certificate), nil
}

// covers tells whether the certificate has the name, a DNS name or an address. Without a name it covers nothing.
func (p *pair) covers(name string) bool { return name != "" && p.leaf.VerifyHostname(name) == nil }

func (p *pair) validAt(t time.Time) bool {
	return !t.Before(p.leaf.NotBefore) && !t.After(p.leaf.NotAfter)
}

// verify tells whether a root of the system vouches for the certificate.
func (p *pair) verify(now time.Time) bool {
	o := x509.VerifyOptions{Intermediates: x509.NewCertPool(), CurrentTime: now}
	for _, der := range p.certificate.Certificate[1:] {
		if intermediate, err := x509.ParseCertificate(der); err == nil {
			o.Intermediates.AddCert(intermediate)
		}
	}
	_, err := p.leaf.Verify(o)
	return err == nil
}

// names are what the certificate is for, names before addresses.
func (p *pair) names() []string {
	list := slices.Clone(p.leaf.DNSNames)
	for _, ip := range p.leaf.IPAddresses {
		list = append(list, ip.String())
	}
	return list
}

// encode is key and chain in one text, from what was understood of an upload and not from what it was.
func (p *pair) encode() ([]byte, error) {
	key, err := x509.MarshalPKCS8PrivateKey(p.certificate.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("write key: %w", err)
	}
	return append(encode("PRIVATE KEY", key), encode("CERTIFICATE", p.certificate.Certificate...)...), nil
}

// encode writes DER as PEM.
func encode(kind string, der ...[]byte) []byte {
	var out strings.Builder
	for _, d := range der {
		out.Write(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: d}))
	}
	return []byte(out.String())
}
