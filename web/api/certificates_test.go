package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"testing"
	"time"

	"breakwater/appliance/access"
)

// selfMade is a certificate for a name and its key, in PEM.
func selfMade(t *testing.T, name string) (certificate, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
}

func TestCertificates(t *testing.T) {
	b := newBox(t)
	ci := b.token("ci", access.Admin)
	ci.call("GET", "/api/v1/certificates", "").want(200, "", `"self-signed"`)
	ci.call("PUT", "/api/v1/certificates/own", `{"certificate":"no","key":"no"}`).want(422, "certificate")
	certificate, key := selfMade(t, "box.example.org")
	body, err := json.Marshal(map[string]string{"certificate": certificate, "key": key})
	if err != nil {
		t.Fatal(err)
	}
	ci.call("PUT", "/api/v1/certificates/own", string(body)).want(204, "")
	ci.call("GET", "/api/v1/certificates", "").want(200, "", `"own"`, "box.example.org")
	ci.call("DELETE", "/api/v1/certificates/own", "").want(204, "")
	b.wantAudit("certificate-upload", "", "")
	b.wantAudit("certificate-remove", "", "")
	b.token("op", access.Operator).call("PUT", "/api/v1/certificates/own", string(body)).want(403, "forbidden")
}
