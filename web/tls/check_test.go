package tls

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestUploadsThatAreTaken(t *testing.T) {
	root := newIssuer(t, "Root", nil)
	middle := newIssuer(t, "Middle", root)
	p256, p384 := newKey(t), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))(t)
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(t)
	box := func() *leaf { return &leaf{DNSNames: []string{"box.example.org"}} }
	ownSigned := (&issuer{box(), p256}).sign(t, box(), p256.Public())
	tests := []struct {
		name       string
		chain, key []byte
	}{
		{"with the whole chain", chainPEM(middle.sign(t, box(), p256.Public()), middle.certificate, root.certificate), keyPEM(t, p256)},
		{"without the root", chainPEM(middle.sign(t, box(), p256.Public()), middle.certificate), keyPEM(t, p256)},
		{"alone", chainPEM(middle.sign(t, box(), p256.Public())), keyPEM(t, p256)},
		{"signed by itself", chainPEM(ownSigned), keyPEM(t, p256)},
		{"P-384", chainPEM(root.sign(t, box(), p384.Public())), keyPEM(t, p384)},
		{"SEC 1", chainPEM(root.sign(t, box(), p256.Public())), encode("EC PRIVATE KEY", must(x509.MarshalECPrivateKey(p256))(t))},
		{"after parameters", chainPEM(root.sign(t, box(), p256.Public())), append(encode("EC PARAMETERS", []byte{6, 1, 1}), keyPEM(t, p256)...)},
		{"PKCS 1", chainPEM(root.sign(t, box(), rsaKey.Public())), encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey))},
		{"text around and CRLF", windows("subject=CN=box\n", chainPEM(root.sign(t, box(), p256.Public()))), windows("Bag Attributes\n", keyPEM(t, p256))},
		{"for servers and clients", chainPEM(root.sign(t, &leaf{DNSNames: []string{"box.example.org"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}}, p256.Public())), keyPEM(t, p256)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			c := m.open(t, t.TempDir())
			if err := c.SetOwn(tt.chain, tt.key); err != nil {
				t.Fatal(err)
			}
			again := m.open(t, c.dir)
			if again.own == nil || again.own.fingerprint != c.own.fingerprint || len(again.own.certificate.Certificate) != len(c.own.certificate.Certificate) {
				t.Errorf("after a restart there is another one: %s", again.ownFlaw)
			}
			if c.Trusted("box.example.org") {
				t.Error("a root that no system knows is trusted")
			}
			if info, err := os.Stat(filepath.Join(c.dir, ownFile)); err != nil || info.Mode() != fs.FileMode(0o600) {
				t.Errorf("the key's file has the mode %v (%v)", info.Mode(), err)
			}
		})
	}
}

// windows is text as Windows writes it.
func windows(before string, text []byte) []byte {
	return bytes.ReplaceAll(append([]byte(before), text...), []byte("\n"), []byte("\r\n"))
}

func must[T any](v T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestUploadsThatAreRefused(t *testing.T) {
	root := newIssuer(t, "Root", nil)
	middle := newIssuer(t, "Middle", root)
	key := newKey(t)
	box := func() *leaf { return &leaf{DNSNames: []string{"box.example.org"}} }
	good, goodKey := chainPEM(middle.sign(t, box(), key.Public())), keyPEM(t, key)
	with := func(template *leaf) []byte { return chainPEM(middle.sign(t, template, key.Public())) }
	weak := must(rsa.GenerateKey(rand.Reader, 1024))(t)
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	other := bytes.Repeat([]byte("x"), 10<<20)
	tests := []struct {
		name       string
		chain, key []byte
		want       string
	}{
		{"nothing", nil, nil, "The chain holds no certificate in PEM form"},
		{"garbage", []byte("garbage"), goodKey, "The chain holds no certificate in PEM form"},
		{"DER", derOf(good), goodKey, "The chain holds no certificate in PEM form"},
		{"10 MB of chain", other, goodKey, "The upload has 10485760 bytes; a chain or a key has at most 65536."},
		{"10 MB of key", good, other, "The upload has 10485760 bytes"},
		{"certificate of garbage", encode("CERTIFICATE", []byte("garbage")), goodKey, "Certificate 1 of the chain cannot be read"},
		{"certificate cut off", encode("CERTIFICATE", derOf(good)[:100]), goodKey, "Certificate 1 of the chain cannot be read"},
		{"request", encode("CERTIFICATE REQUEST", []byte{1}), goodKey, "This is a request for a certificate"},
		{"key in the chain", append(goodKey, good...), goodKey, "The chain holds a private key"},
		{"something else in the chain", append(encode("\x1b[2J<b>", []byte{1}), good...), goodKey, `The chain holds " [2J<b>", which is no certificate`},
		{"eleven certificates", bytes.Repeat(good, 11), goodKey, "The chain has more than 10 certificates"},
		{"no key", good, nil, "The key's field holds no private key in PEM form"},
		{"certificate as key", good, good, `The key's field holds "CERTIFICATE"`},
		{"two keys", good, append(goodKey, goodKey...), "There is more than one private key"},
		{"locked key", good, encode("ENCRYPTED PRIVATE KEY", []byte{1}), "The key is locked with a password"},
		{"key locked the old way", good, pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte{1}}), "The key is locked with a password"},
		{"key of garbage", good, encode("PRIVATE KEY", []byte("garbage")), "The private key cannot be read"},
		{"huge key", good, encode("RSA PRIVATE KEY", other[:40_000]), "The private key has"},
		{"key of another", good, keyPEM(t, newKey(t)), "The private key does not belong to the first certificate of the chain, which is for box.example.org."},
		{"key of another kind", good, keyPEM(t, must(rsa.GenerateKey(rand.Reader, 2048))(t)), "The private key does not belong"},
		{"weak key", chainPEM(root.sign(t, box(), weak.Public())), keyPEM(t, weak), "Certificate 1 of the chain has an RSA key of 1024 bits; it must have 2048 to 8192."},
		{"Ed25519", chainPEM(root.sign(t, box(), edKey.Public())), keyPEM(t, edKey), "The private key is neither ECDSA nor RSA"},
		{"Ed25519 above", append(bytes.Clone(good), chainPEM(root.sign(t, box(), edKey.Public()))...), goodKey, "Certificate 2 of the chain has a key that is neither"},
		{"wrong order", append(chainPEM(middle.certificate), good...), goodKey, "The private key does not belong to the first certificate of the chain, which is for CN=Middle."},
		{"a link missing", append(bytes.Clone(good), chainPEM(root.certificate)...), goodKey, "Certificate 2 of the chain (CN=Root) did not sign certificate 1 (box.example.org)"},
		{"ended", with(&leaf{DNSNames: []string{"box.example.org"}, NotAfter: now().Add(-time.Second)}), goodKey, "Certificate 1 of the chain (box.example.org) ended at 2026-06-01 11:59 UTC"},
		{"not begun", with(&leaf{DNSNames: []string{"box.example.org"}, NotBefore: now().Add(time.Hour)}), goodKey, "begins at 2026-06-01 13:00 UTC, and the clock of the box shows 2026-06-01 12:00 UTC"},
		{"without a name", with(&leaf{}), goodKey, "The certificate names no DNS name"},
		{"for clients", with(&leaf{DNSNames: []string{"a"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}), goodKey, "The certificate is not for servers"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			c := m.open(t, t.TempDir())
			before, beforeKey := upload(t, root, &leaf{DNSNames: []string{"before.example.org"}})
			if err := c.SetOwn(before, beforeKey); err != nil {
				t.Fatal(err)
			}
			kept, start := c.own.fingerprint, time.Now()
			err := c.SetOwn(tt.chain, tt.key)
			if refused, ok := errors.AsType[*Refused](err); !ok || !strings.Contains(refused.Why, tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
			if err != nil && (strings.ContainsAny(err.Error(), "\n\x1b") || !strings.HasSuffix(err.Error(), ".")) {
				t.Errorf("%q is not a sentence", err)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			if c.own.fingerprint != kept || m.open(t, c.dir).own.fingerprint != kept {
				t.Error("the certificate before is gone")
			}
		})
	}
}

func derOf(text []byte) []byte {
	block, _ := pem.Decode(text)
	return block.Bytes
}

// Checking is bounded whatever the keys: the largest that fit in an upload are refused before they are used.
func TestCertificatesOfHugeKeysAreRefusedQuickly(t *testing.T) {
	key := newKey(t)
	huge := &rsa.PublicKey{N: new(big.Int).SetBit(new(big.Int).Lsh(big.NewInt(1), 16_000), 0, 1), E: 1<<31 - 1}
	root := newIssuer(t, "Root", nil)
	chain := chainPEM(root.sign(t, &leaf{DNSNames: []string{"box.example.org"}}, key.Public()))
	for i := range 8 {
		chain = append(chain, chainPEM(root.sign(t, &leaf{DNSNames: []string{fmt.Sprint(i)}}, huge))...)
	}
	start := time.Now()
	err := newMachine().open(t, t.TempDir()).SetOwn(chain, keyPEM(t, key))
	if err == nil || !strings.Contains(err.Error(), "RSA key of 16001 bits") || time.Since(start) > 5*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
}

// FuzzUpload: nothing panics, what is refused is one sentence, and what is taken can be served after a restart.
func FuzzUpload(f *testing.F) {
	root := newIssuer(f, "Root", nil)
	chain, key := upload(f, root, &leaf{DNSNames: []string{"box.example.org"}})
	rsaKey := must(rsa.GenerateKey(rand.Reader, 2048))(f)
	f.Add(chain, key)
	f.Add(append(key, chain...), key)
	f.Add(chainPEM(root.sign(f, &leaf{}, rsaKey.Public())), encode("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(rsaKey)))
	f.Add([]byte("-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----"), []byte("-----BEGIN EC PARAMETERS-----\n-----END EC PARAMETERS-----"))
	c := &Certificates{now: now}
	f.Fuzz(func(t *testing.T, chain, key []byte) {
		p, err := c.check(chain, key)
		if refused, ok := errors.AsType[*Refused](err); err != nil && (!ok || refused.Why == "" || strings.ContainsAny(refused.Why, "\n\r\x1b\x00")) {
			t.Fatalf("refused with %q", err)
		}
		if err != nil {
			return
		}
		content, err := p.encode()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parsePair(content, content); err != nil || again.fingerprint != p.fingerprint {
			t.Fatalf("what was taken cannot be read again: %v", err)
		}
	})
}
