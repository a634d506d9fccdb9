package tls

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/whole"
)

// The files of the self-signed certificate. Others may read the certificate, to trust it.
const (
	CertificateFile = "certificate.pem"
	keyFile         = "key.pem"
)

const (
	// lifetime is the longest that Apple's systems take; a longer one shuts their browsers out without a way to go on.
	lifetime = 825 * 24 * time.Hour
	// renewBefore is how long before its end a certificate is issued anew.
	renewBefore = 30 * 24 * time.Hour
	// maxSelfAddresses bounds the addresses that a certificate collects.
	maxSelfAddresses = 64
)

// epoch is before the first release: a clock that shows an earlier time is not set yet. A box without a battery for
// its clock starts in 1970 each time, and must not issue a certificate anew each time.
func epoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// openSelfSigned reads the certificate or makes one. Its key is made once and kept, so that whoever pinned it goes on.
func (c *Certificates) openSelfSigned() error {
	certificatePath, keyPath := filepath.Join(c.dir, CertificateFile), filepath.Join(c.dir, keyFile)
	keyPEM, err := os.ReadFile(keyPath)
	if errors.Is(err, os.ErrNotExist) {
		keyPEM, err = makeKey(keyPath)
	}
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	if _, err := parseKey(keyPEM); err != nil {
		return fmt.Errorf("read key (remove %s to have a new one made): %w", keyPath, err)
	}
	if content, err := os.ReadFile(certificatePath); err == nil {
		if c.self, err = parsePair(content, keyPEM); err == nil {
			return nil
		}
		c.log.Warn("the self-signed certificate cannot be read and is issued anew", "err", err)
	} else if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read certificate: %w", err)
	}
	return c.issue(keyPEM, nil)
}

func makeKey(path string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	content := encode("PRIVATE KEY", der)
	return content, whole.Write(path, content, 0o600)
}

// Refresh issues the self-signed certificate anew, with the key it has, when it lacks an address of the box, when its
// names are not those of the box and names, or when its time runs out. Call it after a change of the settings, and now
// and then for the rest. Addresses that are gone stay named as long as there is room: one that comes and goes would
// else change the fingerprint each time.
func (c *Certificates) Refresh(names []string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	fresh, err := c.isFresh(names)
	if err != nil || fresh {
		return err
	}
	keyPEM, err := os.ReadFile(filepath.Join(c.dir, keyFile))
	if err != nil {
		return fmt.Errorf("read key: %w", err)
	}
	return c.issue(keyPEM, names)
}

func (c *Certificates) isFresh(names []string) (bool, error) {
	hostNames, addresses, _, err := c.host()
	if err != nil {
		return false, err
	}
	leaf, now := c.selfSigned().leaf, c.now()
	if now.After(epoch()) && (now.Before(leaf.NotBefore) || now.After(leaf.NotAfter.Add(-renewBefore))) {
		return false, nil
	}
	named := func(ip net.IP) bool { return slices.ContainsFunc(leaf.IPAddresses, ip.Equal) }
	lacks := slices.ContainsFunc(addresses[:min(len(addresses), maxSelfAddresses)], func(ip net.IP) bool { return !named(ip) })
	return !lacks && slices.Equal(leaf.DNSNames, joined(hostNames, names)), nil
}

// joined are all names in an order of their own, each once.
func joined(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func (c *Certificates) issue(keyPEM []byte, names []string) error {
	key, err := parseKey(keyPEM)
	if err != nil {
		return err
	}
	template, err := c.template(names)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	content := encode("CERTIFICATE", der)
	p, err := parsePair(content, keyPEM)
	if err != nil {
		return fmt.Errorf("make certificate: %w", err)
	}
	if err := whole.Write(filepath.Join(c.dir, CertificateFile), content, 0o644); err != nil {
		return err
	}
	c.mu.Lock()
	c.self = p
	c.mu.Unlock()
	c.log.Info("self-signed certificate issued", "fingerprint", p.fingerprint)
	return nil
}

func (c *Certificates) template(names []string) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	hostNames, addresses, fixed, err := c.host()
	if err != nil {
		return nil, err
	}
	start := c.now().Add(-24 * time.Hour) // for clients whose clock is behind
	if start.Before(epoch()) {
		start = epoch()
	}
	return &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "Breakwater"},
		NotBefore:             start,
		NotAfter:              start.Add(lifetime - time.Second), // both ends are part of it (RFC 5280 section 4.1.2.5)
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		DNSNames:              joined(hostNames, names),
		IPAddresses:           c.collected(slices.Concat(addresses, fixed)),
	}, nil
}

// collected are the addresses of now and those that the certificate had, as many as there is room for.
func (c *Certificates) collected(addresses []net.IP) []net.IP {
	if c.self != nil {
		addresses = append(addresses, c.self.leaf.IPAddresses...)
	}
	var list []net.IP
	for _, ip := range addresses {
		if len(list) < maxSelfAddresses && !slices.ContainsFunc(list, ip.Equal) {
			list = append(list, ip)
		}
	}
	return list
}

// hostNames are the names and addresses of this machine now. Those that are fixed are addresses without a network
// around them: edge addresses are among these, and come and go with the settings, so one of them alone is no reason
// for a new certificate.
func hostNames() (names []string, addresses, fixed []net.IP, err error) {
	names = []string{"localhost"}
	if name, err := os.Hostname(); err == nil && name != "localhost" && isASCIIName(name) {
		first, _, _ := strings.Cut(strings.ToLower(name), ".")
		names = append(names, strings.ToLower(name), first+".local") // RFC 6762 section 3
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("read the addresses of the box: %w", err)
	}
	addresses, fixed = hostAddresses(all)
	return names, withLoopback(addresses), fixed, nil
}

// hostAddresses are those that a browser can open: of the link-local ones those of IPv4, which a box has where nobody
// gives it another. Those of IPv6 need a zone.
func hostAddresses(all []net.Addr) (addresses, fixed []net.IP) {
	for _, a := range all {
		network, ok := a.(*net.IPNet)
		if !ok || network.IP.To4() == nil && network.IP.IsLinkLocalUnicast() {
			continue
		}
		if ones, bits := network.Mask.Size(); ones == bits && !network.IP.IsLoopback() {
			fixed = append(fixed, network.IP)
			continue
		}
		addresses = append(addresses, network.IP)
	}
	return addresses, fixed
}

// withLoopback puts the loopback addresses first, also where the interface is not up yet.
func withLoopback(addresses []net.IP) []net.IP {
	return slices.Concat([]net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		slices.DeleteFunc(addresses, net.IP.IsLoopback))
}

func isASCIIName(name string) bool {
	return name != "" && strings.Trim(strings.ToLower(name), "abcdefghijklmnopqrstuvwxyz0123456789.-") == ""
}

// parseKey reads the key that makeKey wrote.
func parseKey(keyPEM []byte) (crypto.Signer, error) {
	der, err := onlyBlock(keyPEM, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("it signs nothing")
	}
	return signer, nil
}
