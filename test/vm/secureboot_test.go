//go:build vm

package vm

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSecureBoot: an image with the owner's signature gives its keys to a machine in setup mode and runs with Secure Boot
// on; from then on the machine starts no boot loader, and the boot loader no system, that somebody else has signed.
func TestSecureBoot(t *testing.T) {
	dir := t.TempDir()
	signed := filepath.Join(dir, "signed.raw")
	copyDisk(t, buildSigned(t, dir), signed)
	variables := []string{"SECURE_BOOT=1", "VARIABLES=" + filepath.Join(dir, "variables")}
	key, certificate := newSigner(t, dir, "somebody else")

	enrolled := t.Run("signed", func(t *testing.T) {
		m := bootWith(t, freePort(t), append(variables, "DISK="+signed))
		waitFor(t, m, bootWait, ready(m, "A", true))
		r := m.report(t)
		if got := strings.Fields(r["secure boot"]); len(got) != 5 || got[4] != "1" { // after four bytes of attributes
			t.Errorf("the variable SecureBoot is %q, want 1 at its end", got)
		}
		for _, nothing := range []string{"failed", "cycles", "denied"} {
			if got, there := r[nothing]; !there || got != "" {
				t.Errorf("%s: %q, want nothing", nothing, got)
			}
		}
	})
	if !enrolled {
		t.FailNow()
	}
	for _, test := range []struct{ name, file, refusal string }{
		{"another boot loader", "EFI/BOOT/BOOTX64.EFI", "Access Denied"},
		{"another system", kernelOf(t, signed), "Access denied"},
	} {
		t.Run(test.name, func(t *testing.T) {
			disk := filepath.Join(dir, "other.raw")
			copyDisk(t, signed, disk)
			resign(t, disk, test.file, key, certificate)
			m := bootWith(t, freePort(t), append(variables, "DISK="+disk))
			waitFor(t, m, bootWait, func() (string, bool) {
				s := m.console(t)
				return s, strings.Contains(strings.ToLower(s), strings.ToLower(test.refusal))
			})
			time.Sleep(20 * time.Second) // it would be well into its start
			if s := m.console(t); strings.Contains(s, "Breakwater") || strings.Contains(s, "STARTING") {
				t.Errorf("it started:\n%s", s)
			}
		})
	}
}

// newSigner is a key and its certificate, as files.
func newSigner(t *testing.T, dir, name string) (key, certificate string) {
	t.Helper()
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(10, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	key, certificate = filepath.Join(dir, "secureboot.key"), filepath.Join(dir, "secureboot.crt")
	for file, block := range map[string]*pem.Block{key: {Type: "PRIVATE KEY", Bytes: pkcs8}, certificate: {Type: "CERTIFICATE", Bytes: der}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key, certificate
}

// buildSigned is an image that is signed with keys of its own.
func buildSigned(t *testing.T, dir string) string {
	t.Helper()
	keys, output := filepath.Join(dir, "keys"), filepath.Join(dir, "image")
	if err := os.Mkdir(keys, 0o700); err != nil {
		t.Fatal(err)
	}
	newSigner(t, keys, "the owner")
	command := exec.Command("../../image/build")
	command.Env = append(os.Environ(), "KEYS="+keys, "OUTPUT="+output)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("image/build: %v\n%s", err, out)
	}
	return imageIn(t, output)
}

// kernelOf is the one system in the ESP of a disk.
func kernelOf(t *testing.T, disk string) string {
	t.Helper()
	list := strings.Fields(fromTree(t, "usr/bin/mdir", "-b", "-i", esp(t, disk), "::EFI/Linux"))
	if len(list) != 1 {
		t.Fatalf("systems: %q, want one", list)
	}
	return strings.TrimPrefix(list[0], "::/")
}

// resign takes the signature of a file in the ESP away and puts another on it.
func resign(t *testing.T, disk, file, key, certificate string) {
	t.Helper()
	local := filepath.Join(t.TempDir(), "program.efi")
	fromTree(t, "usr/bin/mcopy", "-i", esp(t, disk), "::"+file, local)
	fromTree(t, "usr/bin/sbattach", "--remove", local)
	fromTree(t, "usr/bin/sbsign", "--key", key, "--cert", certificate, "--output", local, local)
	fromTree(t, "usr/bin/mcopy", "-o", "-i", esp(t, disk), local, "::"+file)
}

// console is all that the serial line showed; nothing before QEMU has made its file.
func (m *machine) console(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(m.serial)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(content)
}
