package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"testing"
	"time"
)

// issuer is an authority of the tests.
type issuer struct {
	certificate *x509.Certificate
	key         crypto.Signer
}

// leaf is what an issuer is asked for, with a certificate's own fields.
type leaf = x509.Certificate

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// newIssuer makes an authority that parent vouches for, or itself without one.
func newIssuer(t testing.TB, name string, parent *issuer) *issuer {
	t.Helper()
	key := newKey(t)
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	if parent == nil {
		parent = &issuer{template, key}
	}
	return &issuer{parent.sign(t, template, key.Public()), key}
}

func (i *issuer) sign(t testing.TB, template *x509.Certificate, public crypto.PublicKey) *x509.Certificate {
	t.Helper()
	template.SerialNumber = big.NewInt(time.Now().UnixNano())
	if template.NotBefore.IsZero() {
		template.NotBefore = now().Add(-time.Hour)
	}
	if template.NotAfter.IsZero() {
		template.NotAfter = now().AddDate(0, 0, 90)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, i.certificate, public, i.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func keyPEM(t testing.TB, key crypto.PrivateKey) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return encode("PRIVATE KEY", der)
}

func chainPEM(chain ...*x509.Certificate) []byte {
	var all []byte
	for _, c := range chain {
		all = append(all, encode("CERTIFICATE", c.Raw)...)
	}
	return all
}

// upload is a chain of two and its key.
func upload(t testing.TB, i *issuer, template *leaf) (chain, key []byte) {
	t.Helper()
	private := newKey(t)
	return chainPEM(i.sign(t, template, private.Public()), i.certificate), keyPEM(t, private)
}
