package update

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
)

// PublicKeyFile is where the image has the key that its updates must be signed with.
const PublicKeyFile = "/usr/share/breakwater/update.pub"

// ReadPublicKey reads an Ed25519 key in PEM (SubjectPublicKeyInfo, RFC 8410).
func ReadPublicKey(path string) (ed25519.PublicKey, error) {
	der, err := readPEM(path, "PUBLIC KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKIXPublicKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if ours, ok := key.(ed25519.PublicKey); ok {
		return ours, nil
	}
	return nil, fmt.Errorf("%s is not an Ed25519 key", path)
}

// ReadPrivateKey reads an Ed25519 key in PEM (PKCS #8, RFC 8410).
func ReadPrivateKey(path string) (ed25519.PrivateKey, error) {
	der, err := readPEM(path, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if ours, ok := key.(ed25519.PrivateKey); ok {
		return ours, nil
	}
	return nil, fmt.Errorf("%s is not an Ed25519 key", path)
}

func readPEM(path, kind string) ([]byte, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	b, _ := pem.Decode(text)
	if b == nil || b.Type != kind {
		return nil, fmt.Errorf("%s is not a %s in PEM", path, kind)
	}
	return b.Bytes, nil
}

// NewKey makes a private key in a new file, which only its owner may read.
func NewKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("make a key: %w", err)
	}
	return key, writePEM(path, 0o600, "PRIVATE KEY", der)
}

// WritePublicKey writes the public half of a private key to a new file.
func WritePublicKey(path string, key ed25519.PrivateKey) error {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return writePEM(path, 0o644, "PUBLIC KEY", der)
}

func writePEM(path string, mode os.FileMode, kind string, der []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
}
