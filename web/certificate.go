package web

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// The files of the certificate in the state directory.
const (
	CertificateFile = "certificate.pem"
	keyFile         = "key.pem"
)

// certificate reads the certificate of the box, and makes a self-signed one at the first start.
func certificate(dir string, listen net.Addr) (tls.Certificate, error) {
	certificatePath, keyPath := filepath.Join(dir, CertificateFile), filepath.Join(dir, keyFile)
	// The certificate is written last, so without it there is nothing yet that anybody could trust.
	if _, err := os.Stat(certificatePath); errors.Is(err, os.ErrNotExist) {
		if err := makeCertificate(certificatePath, keyPath, listen); err != nil {
			return tls.Certificate{}, fmt.Errorf("make certificate: %w", err)
		}
	}
	pair, err := tls.LoadX509KeyPair(certificatePath, keyPath)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read certificate (remove %s to have a new one made): %w", certificatePath, err)
	}
	return pair, nil
}

func makeCertificate(certificatePath, keyPath string, listen net.Addr) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template, err := templateFor(listen)
	if err != nil {
		return err
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := writePEM(keyPath, "PRIVATE KEY", private, 0o600); err != nil {
		return err
	}
	return writePEM(certificatePath, "CERTIFICATE", signed, 0o644)
}

// templateFor names every address under which the box may be opened now. Its time is fixed: at the first start the
// clock of the box may be anywhere.
func templateFor(listen net.Addr) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Breakwater"},
		NotBefore:             time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC),
		NotAfter:              time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		template.DNSNames = append(template.DNSNames, name)
	}
	addresses := []net.Addr{listen}
	if tcp, ok := listen.(*net.TCPAddr); ok && tcp.IP.IsUnspecified() {
		if addresses, err = net.InterfaceAddrs(); err != nil {
			return nil, err
		}
	}
	for _, a := range addresses {
		if ip := ipOf(a); ip != nil && !ip.IsLoopback() {
			template.IPAddresses = append(template.IPAddresses, ip)
		}
	}
	return template, nil
}

func ipOf(a net.Addr) net.IP {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.IP
	case *net.IPNet:
		return a.IP
	}
	return nil
}

// writePEM writes a file as a whole or not at all.
func writePEM(path, kind string, content []byte, mode os.FileMode) error {
	temporary := path + ".tmp"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	err = pem.Encode(f, &pem.Block{Type: kind, Bytes: content})
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}

// Fingerprint is the SHA-256 of a certificate as 64 hex digits: what an operator compares with the screen of the box.
func Fingerprint(certificate []byte) string {
	sum := sha256.Sum256(certificate)
	return hex.EncodeToString(sum[:])
}
