package tls

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"breakwater/appliance/whole"
)

// ownFile holds the key and the chain of the operator's certificate. They are one file, so that no power cut leaves
// the key of one beside the chain of another.
const ownFile = "own.pem"

// openOwn reads the own certificate, if there is one. It was checked when it came, and time may have passed.
func (c *Certificates) openOwn() {
	content, err := os.ReadFile(filepath.Join(c.dir, ownFile))
	if errors.Is(err, os.ErrNotExist) {
		return
	}
	var p *pair
	if err == nil {
		p, err = parsePair(content, content)
	}
	if err != nil {
		c.ownFlaw = err.Error()
		c.log.Error("the own certificate cannot be read", "err", err)
		return
	}
	c.own = p
}

// SetOwn puts a certificate of the operator's in place of the one before, and keeps it. The chain begins with the
// certificate of the box; each following one signed the one before it. The error is a *Refused when they cannot be
// served, and then nothing changed.
func (c *Certificates) SetOwn(chainPEM, keyPEM []byte) error {
	p, err := c.check(chainPEM, keyPEM)
	if err != nil {
		return err
	}
	content, err := p.encode()
	if err != nil {
		return err
	}
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := whole.Write(filepath.Join(c.dir, ownFile), content, 0o600); err != nil {
		return fmt.Errorf("keep the certificate: %w", err)
	}
	c.putOwn(p)
	return nil
}

// RemoveOwn goes back to the other certificates. Without an own one it does nothing.
func (c *Certificates) RemoveOwn() error {
	c.changing.Lock()
	defer c.changing.Unlock()
	if err := whole.Remove(filepath.Join(c.dir, ownFile)); err != nil {
		return err
	}
	c.putOwn(nil)
	return nil
}

func (c *Certificates) putOwn(p *pair) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.own, c.ownFlaw = p, ""
}
