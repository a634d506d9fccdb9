package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// What an upload may hold. A chain of five certificates with large keys has about 12 KiB; the sizes also bound the time
// that checking takes.
const (
	// MaxUpload is the most bytes of a chain, and of a key, that SetOwn reads.
	MaxUpload = 64 << 10
	maxChain  = 10
	minRSA    = 2048 // bits; browsers take no less (CA/Browser Forum baseline requirements, section 6.1.5)
	maxRSA    = 8192 // bits; crypto/tls takes no more
)

// Refused is why an uploaded certificate cannot be served.
type Refused struct {
	Why string // one sentence for the operator
}

func (r *Refused) Error() string { return r.Why }

func refuse(format string, args ...any) error { return &Refused{Why: fmt.Sprintf(format, args...)} }

// check reads an upload and refuses what would not be served, or what no browser would take.
func (c *Certificates) check(chainPEM, keyPEM []byte) (*pair, error) {
	if n := max(len(chainPEM), len(keyPEM)); n > MaxUpload {
		return nil, refuse("The upload has %d bytes; a chain or a key has at most %d.", n, MaxUpload)
	}
	chain, err := readChain(chainPEM)
	if err != nil {
		return nil, err
	}
	key, err := readKey(keyPEM)
	if err != nil {
		return nil, err
	}
	for _, step := range []func() error{
		func() error { return checkKeys(chain) },
		func() error { return checkMatch(chain[0], key) },
		func() error { return checkOrder(chain) },
		func() error { return checkUse(chain[0]) },
		func() error { return checkTime(chain, c.now()) },
	} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	certificate := tls.Certificate{PrivateKey: key, Leaf: chain[0]}
	for _, link := range chain {
		certificate.Certificate = append(certificate.Certificate, link.Raw)
	}
	return newPair(certificate), nil
}

// readChain reads the certificates in the order in which they stand. Text around them is passed over, as openssl
// writes such.
func readChain(chainPEM []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	for block, rest := pem.Decode(chainPEM); block != nil; block, rest = pem.Decode(rest) {
		if err := isCertificate(block); err != nil {
			return nil, err
		}
		if len(chain) == maxChain {
			return nil, refuse("The chain has more than %d certificates; leave out those that do not belong to it.", maxChain)
		}
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, refuse("Certificate %d of the chain cannot be read: %s.", len(chain)+1, printable(err.Error()))
		}
		chain = append(chain, certificate)
	}
	if len(chain) == 0 {
		return nil, refuse("The chain holds no certificate in PEM form, which begins with -----BEGIN CERTIFICATE-----.")
	}
	return chain, nil
}

func isCertificate(block *pem.Block) error {
	switch {
	case block.Type == "CERTIFICATE":
		return nil
	case strings.HasSuffix(block.Type, "PRIVATE KEY"):
		return refuse("The chain holds a private key; put the certificates alone there, and the key in its own field.")
	case strings.HasSuffix(block.Type, "CERTIFICATE REQUEST"):
		return refuse("This is a request for a certificate; upload the certificate that the authority made from it.")
	}
	return refuse("The chain holds %q, which is no certificate; leave it out.", printable(block.Type))
}

// onlyKey is the key's block. A parameter block stands before the keys that openssl ecparam makes, and is passed over.
func onlyKey(keyPEM []byte) (*pem.Block, error) {
	var key *pem.Block
	for block, rest := pem.Decode(keyPEM); block != nil; block, rest = pem.Decode(rest) {
		switch {
		case block.Type == "EC PARAMETERS":
			continue
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			return nil, refuse("The key is locked with a password; unlock it first, with openssl pkey -in KEY -out UNLOCKED.")
		case !strings.HasSuffix(block.Type, "PRIVATE KEY"):
			return nil, refuse("The key's field holds %q; put the private key alone there.", printable(block.Type))
		case key != nil:
			return nil, refuse("There is more than one private key; upload the one that belongs to the certificate.")
		}
		key = block
	}
	if key == nil {
		return nil, refuse("The key's field holds no private key in PEM form, which begins with -----BEGIN PRIVATE KEY-----.")
	}
	return key, nil
}

// onlyBlock is the content of the first block, which must be of this kind.
func onlyBlock(text []byte, kind string) ([]byte, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("it holds no %s in PEM form", kind)
	}
	return block.Bytes, nil
}

// readKey reads the three forms that keys have: PKCS #8, SEC 1 and PKCS #1.
func readKey(keyPEM []byte) (crypto.Signer, error) {
	block, err := onlyKey(keyPEM)
	if err != nil {
		return nil, err
	}
	// A longer one takes seconds to check; 8192 bits with all that PKCS #1 adds are 4.7 KiB.
	if len(block.Bytes) > 8<<10 {
		return nil, refuse("The private key has %d bytes; one of %d bits has less than 8192.", len(block.Bytes), maxRSA)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		if ec, ecErr := x509.ParseECPrivateKey(block.Bytes); ecErr == nil {
			key, err = ec, nil
		} else if rsaKey, rsaErr := x509.ParsePKCS1PrivateKey(block.Bytes); rsaErr == nil {
			key, err = rsaKey, nil
		}
	}
	if err != nil {
		return nil, refuse("The private key cannot be read; it must be an ECDSA or RSA key in PKCS #8, SEC 1 or PKCS #1 form.")
	}
	switch key := key.(type) {
	case *ecdsa.PrivateKey:
		return key, nil
	case *rsa.PrivateKey:
		return key, nil
	}
	return nil, refuse("The private key is neither ECDSA nor RSA, and browsers take no other.")
}

// checkKeys comes before any signature is verified: the time that takes grows with the size of the key.
func checkKeys(chain []*x509.Certificate) error {
	for i, certificate := range chain {
		switch key := certificate.PublicKey.(type) {
		case *ecdsa.PublicKey:
		case *rsa.PublicKey:
			if bits := key.N.BitLen(); bits < minRSA || bits > maxRSA {
				return refuse("Certificate %d of the chain has an RSA key of %d bits; it must have %d to %d.", i+1, bits, minRSA, maxRSA)
			}
		default:
			return refuse("Certificate %d of the chain has a key that is neither ECDSA nor RSA, and browsers take no other.", i+1)
		}
	}
	return nil
}

func checkMatch(leaf *x509.Certificate, key crypto.Signer) error {
	public, ok := key.Public().(interface{ Equal(crypto.PublicKey) bool })
	if !ok || !public.Equal(leaf.PublicKey) {
		return refuse("The private key does not belong to the first certificate of the chain, which is for %s.", subject(leaf))
	}
	return nil
}

// checkOrder wants each certificate signed by the next (RFC 8446 section 4.4.2 asks for it, and some clients insist).
func checkOrder(chain []*x509.Certificate) error {
	for i, certificate := range chain[1:] {
		if err := chain[i].CheckSignatureFrom(certificate); err != nil {
			return refuse("Certificate %d of the chain (%s) did not sign certificate %d (%s); begin with the certificate of the box, then the one that signed it, and so on.",
				i+2, subject(certificate), i+1, subject(chain[i]))
		}
	}
	return nil
}

// checkUse refuses what browsers refuse whoever signed it.
func checkUse(leaf *x509.Certificate) error {
	if len(leaf.DNSNames)+len(leaf.IPAddresses) == 0 {
		return refuse("The certificate names no DNS name and no address (as subject alternative names), so browsers take it for none.")
	}
	if slices.Contains([]x509.SignatureAlgorithm{x509.UnknownSignatureAlgorithm, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1}, leaf.SignatureAlgorithm) {
		return refuse("The certificate is signed with %s, which browsers refuse; have it issued with SHA-256.", leaf.SignatureAlgorithm)
	}
	if len(leaf.ExtKeyUsage)+len(leaf.UnknownExtKeyUsage) == 0 {
		return nil
	}
	if slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageServerAuth) || slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageAny) {
		return nil
	}
	return refuse("The certificate is not for servers; have it issued for TLS server authentication.")
}

func checkTime(chain []*x509.Certificate, now time.Time) error {
	for i, certificate := range chain {
		if now.After(certificate.NotAfter) {
			return refuse("Certificate %d of the chain (%s) ended at %s; upload one that is still valid.", i+1, subject(certificate), moment(certificate.NotAfter))
		}
		if now.Before(certificate.NotBefore) {
			return refuse("Certificate %d of the chain (%s) begins at %s, and the clock of the box shows %s; correct the clock, or wait.",
				i+1, subject(certificate), moment(certificate.NotBefore), moment(now))
		}
	}
	return nil
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

// subject is a short text by which the operator knows a certificate again.
func subject(c *x509.Certificate) string {
	text := c.Subject.String()
	if len(c.DNSNames) > 0 {
		text = c.DNSNames[0]
	}
	if text == "" {
		return "no name"
	}
	return printable(text)
}

// printable is text from a stranger on one line of bounded length.
func printable(text string) string {
	const longest = 300 // characters
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' ' // also what turns the direction of writing
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if runes := []rune(text); len(runes) > longest {
		text = string(runes[:longest]) + "…"
	}
	return text
}
