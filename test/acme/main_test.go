//go:build e2e

// Package acme gets certificates from a real ACME authority, pebble, over loopback.
//
//	test/tools/pebble && go test -tags e2e ./test/acme
//
// The authority resolves every name below example.test to this machine and connects to one port of it, where each case
// in turn serves the certificates of a box. All of it is in a network namespace that ends with the test, so nothing leaves the
// machine, and nobody else takes a port.
package acme

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const pebble = "../../build/tools/pebble-2.10.1"

// authority is a running pebble.
type authority struct {
	directory string
	roots     []byte // PEM: what signed its page and what signs its certificates
}

// world is what all cases share: there is one set of trusted roots in a process, read once.
type world struct {
	lasting, brief authority // they issue for 90 days and for 12 seconds
	port           int       // where they look for the box
}

var shared world

// inside says that this process is in its own network namespace.
const inside = "BREAKWATER_TEST_INSIDE"

// TestMain runs the test binary again in a network namespace of its own, which ends with it.
func TestMain(m *testing.M) {
	if os.Getenv(inside) != "" {
		testInside(m)
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	err := cmd.Run()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		os.Exit(failed.ExitCode())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "a network namespace needs root:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// testInside runs the tests, and does not return.
func testInside(m *testing.M) {
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "set lo up: %v: %s\n", err, out)
		os.Exit(1)
	}
	dir, err := os.MkdirTemp("", "acme")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := 1
	if err := shared.run(dir, func() { code = m.Run() }); err != nil {
		fmt.Fprintln(os.Stderr, "acme:", err)
		code = 1
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// run calls test while two authorities run whose roots this process trusts.
func (w *world) run(dir string, test func()) error {
	names, err := serveNames()
	if err != nil {
		return err
	}
	w.port = nextPort()
	var roots []byte
	for _, start := range []struct {
		authority *authority
		validity  time.Duration
	}{{&w.lasting, 90 * 24 * time.Hour}, {&w.brief, 12 * time.Second}} {
		stop, err := start.authority.start(filepath.Join(dir, start.validity.String()), w.port, names, start.validity)
		if err != nil {
			return err
		}
		defer stop()
		roots = append(roots, start.authority.roots...)
	}
	file := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(file, roots, 0o600); err != nil {
		return err
	}
	if err := os.Setenv("SSL_CERT_FILE", file); err != nil {
		return err
	}
	test()
	return nil
}

var lastPort = 20_000

// nextPort is a port that the kernel gives nobody by itself.
func nextPort() int {
	lastPort++
	return lastPort
}

// start runs pebble in dir until stop is called.
func (a *authority) start(dir string, port int, names string, validity time.Duration) (stop func(), err error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	page, err := makePage(dir)
	if err != nil {
		return nil, err
	}
	addresses := make([]string, 2)
	for i := range addresses {
		addresses[i] = fmt.Sprintf("127.0.0.1:%d", nextPort())
	}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": addresses[0], "managementListenAddress": addresses[1],
		"certificate": filepath.Join(dir, "page.pem"), "privateKey": filepath.Join(dir, "page.key"),
		"tlsPort": port, "httpPort": 1, "keyAlgorithm": "ecdsa",
		"domainBlocklist": []string{"forbidden.example.test"},
		"retryAfter":      map[string]any{"authz": 1, "order": 1},
		"profiles":        map[string]any{"default": map[string]any{"description": "all", "validityPeriod": int(validity.Seconds())}},
	}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		return nil, err
	}
	var said bytes.Buffer
	cmd := exec.Command(pebble, "-config", filepath.Join(dir, "config.json"), "-dnsserver", names)
	cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start pebble (test/tools/pebble builds it): %w", err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	issuing, err := fetch("https://"+addresses[1]+"/roots/0", page)
	if err != nil {
		stop()
		return nil, fmt.Errorf("%w; pebble said:\n%s", err, &said)
	}
	a.directory, a.roots = "https://"+addresses[0]+"/dir", append(page, issuing...)
	return stop, nil
}

// fetch waits for a page under root and returns it.
func fetch(url string, root []byte) ([]byte, error) {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(root)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 5 * time.Second}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		response, err := client.Get(url)
		if err == nil {
			defer response.Body.Close()
			return io.ReadAll(response.Body)
		}
		if time.Now().After(deadline) {
			return nil, err
		}
	}
}

// makePage writes the certificate and key of pebble's own page and returns the certificate.
func makePage(dir string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return certificate, errors.Join(
		os.WriteFile(filepath.Join(dir, "page.pem"), certificate, 0o600),
		os.WriteFile(filepath.Join(dir, "page.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// serveNames answers DNS over TCP for as long as the process lives: every name is 127.0.0.1, but nowhere.example.test
// is no name at all.
func serveNames() (address string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()
	return l.Addr().String(), nil
}

// answer speaks DNS with its length in front (RFC 1035 section 4.2.2). Pebble says what it lacks.
func answer(conn net.Conn) {
	defer conn.Close()
	for {
		length := make([]byte, 2)
		if _, err := io.ReadFull(conn, length); err != nil {
			return
		}
		query := make([]byte, int(length[0])<<8|int(length[1]))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
			return
		}
		m.Response, m.Additionals = true, nil
		q := m.Questions[0]
		switch {
		case strings.HasPrefix(q.Name.String(), "nowhere."):
			m.RCode = dnsmessage.RCodeNameError
		case q.Type == dnsmessage.TypeA:
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		reply, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := conn.Write(append([]byte{byte(len(reply) >> 8), byte(len(reply))}, reply...)); err != nil {
			return
		}
	}
}
