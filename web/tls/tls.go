// Package tls is what the box shows to browsers: its certificates, which of them a client gets, and how many
// connections strangers may hold.
//
//	certificates, err := tls.Open("/var/lib/breakwater", log)
//	defer certificates.Close()
//	err = certificates.Refresh([]string{"box.example.org"})
//	l = tls.Limit(l, tls.LimitOptions{Allow: management, Checking: certificates.Checking})
//	err = server.Serve(cryptotls.NewListener(l, certificates.Config()))
//
// There are at most three kinds at a time: the self-signed one, which is always there, the operator's own, and those
// that an authority issued by ACME. A client gets one that has the name it asks for, its own before ACME's, and else the
// self-signed one, so whatever happens to the others the page can be opened and its fingerprint compared with what
// the box shows on its screen.
//
// Handshakes are done by http.Server, which ends one that takes longer than its ReadHeaderTimeout; a listener of
// other make must bound them itself. certmagic is used nowhere else.
package tls

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/whole"
)

// acmeProtocol is the application protocol of an authority that checks a name (RFC 8737 section 3).
const acmeProtocol = "acme-tls/1"

// Certificates are those of one box, kept in one directory. All methods may be called at the same time.
type Certificates struct {
	dir        string
	log        *slog.Logger
	now        func() time.Time
	host       func() (names []string, addresses []net.IP, fixed []net.IP, err error)
	conditions health.Set

	changing sync.Mutex // held while files are written, before mu
	ending   sync.WaitGroup

	mu      sync.RWMutex
	self    *pair
	own     *pair
	ownFlaw string // why the own one of the last start cannot be served
	acme    *authority
	trusted map[string]bool // by fingerprint: a root of the system vouches for it
}

// Open reads the certificates in dir, and makes a self-signed one where there is none. An own certificate that cannot
// be read is a condition, not an error: the page must come up to replace it.
func Open(dir string, log *slog.Logger) (*Certificates, error) {
	c := &Certificates{dir: dir, log: log, now: time.Now, host: hostNames, trusted: make(map[string]bool)}
	if err := whole.RemoveUnfinished(dir); err != nil {
		log.Error("remove unfinished files of certificates", "err", err)
	}
	if err := c.openSelfSigned(); err != nil {
		return nil, err
	}
	c.openOwn()
	return c, nil
}

// Close ends what ACME does in the background. The certificates can still be served.
func (c *Certificates) Close() {
	c.changing.Lock()
	defer c.changing.Unlock()
	c.replaceAuthority(nil)
	c.ending.Wait()
}

// Config is how a listener serves the certificates: TLS 1.2 and later, HTTP/1.1. It follows later changes.
func (c *Certificates) Config() *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		NextProtos:         []string{"http/1.1"},
		GetCertificate:     c.forHello,
		GetConfigForClient: c.configFor,
	}
}

// configFor answers an authority's check of a name. It is the only one that offers acme-tls/1 alone (RFC 8737 section
// 3), so no browser ever sees that protocol. http.Server closes the connection after such a handshake. Who is in for a
// check only gets no further than this with anything else.
func (c *Certificates) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	a := c.authority()
	check := a != nil && slices.Equal(hello.SupportedProtos, []string{acmeProtocol})
	if conn, ok := hello.Conn.(*limitedConn); ok && conn.stranger && !check {
		return nil, errors.New("the peer may not reach the page")
	}
	if !check {
		return nil, nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{acmeProtocol}, GetCertificate: a.config.GetCertificate,
	}, nil
}

// Checking tells whether an authority may be looking at the box now, for LimitOptions.
func (c *Certificates) Checking() bool { return c.authority().checking(c.now()) }

// forHello chooses for a client. One that opens the page under an address sends no name (RFC 6066 section 3); it
// means the address that it connected to.
func (c *Certificates) forHello(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := hello.ServerName
	if name == "" && hello.Conn != nil {
		if local, err := netip.ParseAddrPort(hello.Conn.LocalAddr().String()); err == nil {
			name = local.Addr().Unmap().WithZone("").String()
		}
	}
	return &c.choose(name).certificate, nil
}

// choose is the certificate that a client gets who asks for name, a DNS name or an address. One that is out of its
// time is better than the self-signed one when the name is right: the clock that is wrong may be ours.
func (c *Certificates) choose(name string) *pair {
	covering := c.covering(name)
	for _, p := range covering {
		if p.validAt(c.now()) {
			return p
		}
	}
	if len(covering) > 0 {
		return covering[0]
	}
	return c.selfSigned()
}

// covering are the certificates that have the name, without the self-signed one, the preferred first.
func (c *Certificates) covering(name string) []*pair {
	name = strings.ToLower(name)
	c.mu.RLock()
	own, a := c.own, c.acme
	c.mu.RUnlock()
	var list []*pair
	if own != nil && own.covers(name) {
		list = append(list, own)
	}
	if p := a.pair(name); p != nil {
		list = append(list, p)
	}
	return list
}

func (c *Certificates) selfSigned() *pair {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.self
}

func (c *Certificates) authority() *authority {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.acme
}

// Fingerprint is that of the self-signed certificate, for the screen of the box.
func (c *Certificates) Fingerprint() string { return c.selfSigned().fingerprint }

// Fingerprint is the SHA-256 of a certificate in DER as 64 hex digits: what browsers show.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:])
}

// Trusted tells whether a browser accepts what it gets for the name without being told to, as far as the roots of
// the box's own system say. Only then may the page ask for HTTPS for good (RFC 6797 section 8.4 makes its warnings
// final).
func (c *Certificates) Trusted(serverName string) bool {
	p := c.choose(serverName)
	if p == c.selfSigned() || !p.covers(serverName) || !p.validAt(c.now()) {
		return false
	}
	c.mu.RLock()
	trusted, known := c.trusted[p.fingerprint]
	c.mu.RUnlock()
	if known {
		return trusted
	}
	trusted = p.verify(c.now())
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trusted[p.fingerprint] = trusted // a handful a year
	return trusted
}
