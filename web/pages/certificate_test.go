package pages_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/web/webtest"
)

// TestOneFileWithCertificateAndKey: it was refused, although the page offers it, and pasted it came back with the key.
func TestOneFileWithCertificateAndKey(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	chain, key := ownCertificate(t)
	_, other := ownCertificate(t)
	page := upload(t, b, "/system/certificate", nil, url.Values{"chain": {other + chain}}).Want(t, 422, `class="problem"`, chain[28:60])
	if strings.Contains(page.Body, "PRIVATE KEY-----\n") {
		t.Error("a private key is sent back")
	}
	wantBack(t, upload(t, b, "/system/certificate", map[string]string{"chainFile": key + chain}, nil), "/system/certificate?done=certificate-set")
	wantBack(t, upload(t, b, "/system/certificate", nil, url.Values{"chain": {chain + key}}), "/system/certificate?done=certificate-set")
	b.Get("/system/certificate").Want(t, 200, "box.example.org", "Your own")
}

func TestCertificateIsUploadedAndRemoved(t *testing.T) {
	site := webtest.Start(t)
	b := site.Browser(t, "anna", access.Admin)
	chain, key := ownCertificate(t)
	upload(t, b, "/system/certificate", map[string]string{"chainFile": chain, "keyFile": "nonsense"}, nil).Want(t, 422, `class="problem"`)
	page := upload(t, b, "/system/certificate", nil, url.Values{"chain": {"nonsense"}, "key": {key}}).Want(t, 422, "nonsense")
	if strings.Contains(page.Body, "PRIVATE KEY-----\n") {
		t.Error("a private key is sent back")
	}
	wantBack(t, upload(t, b, "/system/certificate", map[string]string{"chainFile": chain, "keyFile": key}, nil), "/system/certificate?done=certificate-set")
	b.Get("/system/certificate").Want(t, 200, "box.example.org", "Your own")
	if pemText := b.Get("/system/certificate/download").Want(t, 200).Body; !strings.HasPrefix(pemText, "-----BEGIN CERTIFICATE-----") {
		t.Errorf("the download is %s", pemText)
	}
	wantBack(t, b.Post("/system/certificate/remove", nil), "/system/certificate?done=certificate-gone")
	if strings.Contains(b.Get("/system/certificate").Body, "box.example.org") {
		t.Error("the own certificate is still there")
	}
}

func ownCertificate(t *testing.T) (chain, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(5), Subject: pkix.Name{CommonName: "box"}, DNSNames: []string{"box.example.org"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 3, 0), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
}
