package tls

import (
	"crypto/ecdsa"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/whole"
)

// now is a moment at which nothing in these tests has ended.
func now() time.Time { return time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC) }

// machine is what a box under test says about itself.
type machine struct {
	names            []string
	addresses, fixed []net.IP
	time             time.Time
}

func (m *machine) host() ([]string, []net.IP, []net.IP, error) {
	return m.names, m.addresses, m.fixed, nil
}

func newMachine() *machine {
	return &machine{
		names:     []string{"localhost", "box", "box.local"},
		addresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(192, 0, 2, 10)},
		time:      now(),
	}
}

// open opens the certificates of m in dir, as Open does on a real box.
func (m *machine) open(t *testing.T, dir string) *Certificates {
	t.Helper()
	c := &Certificates{
		dir: dir, log: slog.New(slog.DiscardHandler), trusted: make(map[string]bool),
		now: func() time.Time { return m.time }, host: m.host,
	}
	if err := c.openSelfSigned(); err != nil {
		t.Fatal(err)
	}
	c.openOwn()
	t.Cleanup(c.Close)
	return c
}

func TestTheSelfSignedOneIsMadeOnce(t *testing.T) {
	dir := t.TempDir()
	first := newMachine().open(t, dir).Fingerprint()
	if again := newMachine().open(t, dir).Fingerprint(); again != first {
		t.Errorf("the fingerprint went from %s to %s", first, again)
	}
	for file, want := range map[string]os.FileMode{CertificateFile: 0o644, keyFile: 0o600} {
		if info, err := os.Stat(filepath.Join(dir, file)); err != nil || info.Mode() != want {
			t.Errorf("%s has the mode %v (%v), want %v", file, info.Mode(), err, want)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestOpenOnThisMachine(t *testing.T) {
	c, err := Open(t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if !c.selfSigned().covers(name) {
			t.Errorf("it does not name %s but %v", name, c.selfSigned().names())
		}
	}
	if err := c.Refresh(nil); err != nil {
		t.Fatal(err)
	}
	before := c.Fingerprint()
	if err := c.Refresh(nil); err != nil || c.Fingerprint() != before {
		t.Errorf("a second Refresh issued again (%v)", err)
	}
}

func TestHostAddresses(t *testing.T) {
	var all []net.Addr
	for _, s := range []string{"127.0.0.1/8", "192.0.2.10/24", "169.254.7.9/16", "198.51.100.7/32", "2001:db8::10/64", "fe80::1/64"} {
		ip, network, err := net.ParseCIDR(s)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, &net.IPNet{IP: ip, Mask: network.Mask})
	}
	addresses, fixed := hostAddresses(all)
	if got, want := fmt.Sprint(addresses, fixed), "[127.0.0.1 192.0.2.10 169.254.7.9 2001:db8::10] [198.51.100.7]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRefresh(t *testing.T) {
	tests := []struct {
		name   string
		change func(m *machine) (names []string)
		issues bool
		want   string // is named then
	}{
		{"nothing", func(*machine) []string { return nil }, false, "box.local"},
		{"another address", func(m *machine) []string { m.addresses = append(m.addresses, net.IPv4(192, 0, 2, 11)); return nil }, true, "192.0.2.11"},
		{"an address gone", func(m *machine) []string { m.addresses = m.addresses[:2]; return nil }, false, "192.0.2.10"},
		{"an address moved", func(m *machine) []string { m.addresses[2] = net.IPv4(192, 0, 2, 11); return nil }, true, "192.0.2.10"},
		{"an edge address", func(m *machine) []string { m.fixed = []net.IP{net.IPv4(203, 0, 113, 1)}; return nil }, false, "box"},
		{"a name", func(*machine) []string { return []string{"box.example.org"} }, true, "box.example.org"},
		{"the host name", func(m *machine) []string { m.names[1] = "gate"; return nil }, true, "gate"},
		{"a year later", func(m *machine) []string { m.time = m.time.AddDate(1, 0, 0); return nil }, false, "box"},
		{"two years and 80 days later", func(m *machine) []string { m.time = m.time.AddDate(2, 0, 80); return nil }, true, "box"},
		{"clock of 1970", func(m *machine) []string { m.time = time.Unix(0, 0); return nil }, false, "box"},
		{"clock was ahead", func(m *machine) []string { m.time = m.time.AddDate(0, -1, 0); return nil }, true, "box"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := newMachine()
			c := m.open(t, t.TempDir())
			before := c.selfSigned()
			names := tt.change(m)
			if err := c.Refresh(names); err != nil {
				t.Fatal(err)
			}
			after := c.selfSigned()
			if issued := after != before; issued != tt.issues {
				t.Errorf("issued anew: %v, want %v", issued, tt.issues)
			}
			if !slices.Contains(after.names(), tt.want) {
				t.Errorf("it names %v, not %s", after.names(), tt.want)
			}
			if !after.leaf.PublicKey.(*ecdsa.PublicKey).Equal(before.leaf.PublicKey) {
				t.Error("the key changed")
			}
			if err := c.Refresh(names); err != nil || c.selfSigned() != after {
				t.Errorf("a second Refresh issued again (%v)", err)
			}
			if reopened := m.open(t, c.dir); reopened.Fingerprint() != after.fingerprint {
				t.Error("after a restart another one is shown")
			}
		})
	}
}

// An address that comes and goes must not change the fingerprint each time, and a thousand do not fill a handshake.
func TestAddressesAreCollectedWithinBounds(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir())
	for i := range 2 * maxSelfAddresses {
		m.addresses[2] = net.IPv4(198, 51, 100, byte(i))
		if err := c.Refresh(nil); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(c.selfSigned().leaf.IPAddresses); got != maxSelfAddresses {
		t.Errorf("%d addresses are named, want %d", got, maxSelfAddresses)
	}
	last := c.Fingerprint()
	m.addresses[2] = net.IPv4(198, 51, 100, 2*maxSelfAddresses-2)
	if err := c.Refresh(nil); err != nil || c.Fingerprint() != last {
		t.Errorf("going back to a former address issued anew (%v)", err)
	}
	for i := range 1000 {
		m.addresses = append(m.addresses, net.IPv4(198, 18, byte(i>>8), byte(i)))
	}
	if err := c.Refresh(nil); err != nil || len(c.selfSigned().leaf.IPAddresses) != maxSelfAddresses {
		t.Errorf("%d addresses are named (%v), want %d", len(c.selfSigned().leaf.IPAddresses), err, maxSelfAddresses)
	}
	full := c.Fingerprint()
	if err := c.Refresh(nil); err != nil || c.Fingerprint() != full {
		t.Errorf("a full certificate is issued each time (%v)", err)
	}
}

func TestALostCertificateIsIssuedWithTheSameKey(t *testing.T) {
	for _, content := range []string{"", "garbage"} {
		t.Run(content, func(t *testing.T) {
			c := newMachine().open(t, t.TempDir())
			if err := os.WriteFile(filepath.Join(c.dir, CertificateFile), []byte(content), 0o644); err != nil {
				t.Fatal(err)
			}
			again := newMachine().open(t, c.dir)
			if !again.selfSigned().leaf.PublicKey.(*ecdsa.PublicKey).Equal(c.selfSigned().leaf.PublicKey) {
				t.Error("the key changed")
			}
		})
	}
}

func TestABrokenKeyIsSaid(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, keyFile), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "remove "+filepath.Join(dir, keyFile)) {
		t.Errorf("got %v", err)
	}
}

func TestWhichOneIsServed(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir())
	authority := newIssuer(t, "Test", nil)
	chain, key := upload(t, authority, &leaf{DNSNames: []string{"box.example.org", "*.lan.example"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 1)}})
	if err := c.SetOwn(chain, key); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, server, local string
		own                 bool
	}{
		{"its name", "box.example.org", "192.0.2.10:443", true},
		{"in capitals", "BOX.Example.org", "192.0.2.10:443", true},
		{"wildcard", "a.lan.example", "192.0.2.10:443", true},
		{"deeper than the wildcard", "a.b.lan.example", "192.0.2.10:443", false},
		{"another name", "box.local", "192.0.2.10:443", false},
		{"its address", "", "192.0.2.1:443", true},
		{"its address, mapped", "", "[::ffff:192.0.2.1]:443", true},
		{"another address", "", "192.0.2.10:443", false},
		{"link-local", "", "[fe80::1%eth0]:443", false},
		{"name of an unknown", "<script>", "192.0.2.10:443", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := c.forHello(&tls.ClientHelloInfo{ServerName: tt.server, Conn: localConn{local: tt.local}})
			if err != nil {
				t.Fatal(err)
			}
			if own := got.Leaf != c.selfSigned().leaf; own != tt.own {
				t.Errorf("the own one: %v, want %v", own, tt.own)
			}
		})
	}
	// Out of its time it is still served under its name: the wrong clock may be ours.
	m.time = m.time.AddDate(1, 0, 0)
	if c.choose("box.example.org") == c.selfSigned() {
		t.Error("a certificate that ended is not served")
	}
	if err := c.RemoveOwn(); err != nil {
		t.Fatal(err)
	}
	if c.choose("box.example.org") != c.selfSigned() || m.open(t, c.dir).own != nil {
		t.Error("the removed one is still there")
	}
}

// localConn is a connection that came to an address.
type localConn struct {
	net.Conn
	local string
}

func (c localConn) LocalAddr() net.Addr {
	a, _ := net.ResolveTCPAddr("tcp", c.local)
	return a
}

func TestDescribe(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir())
	chain, key := upload(t, newIssuer(t, "Test", nil), &leaf{DNSNames: []string{"box.example.org"}})
	if err := c.SetOwn(chain, key); err != nil {
		t.Fatal(err)
	}
	list := c.Describe()
	if len(list) != 2 || list[0].Kind != SelfSigned || list[1].Kind != Own {
		t.Fatalf("got %+v", list)
	}
	for _, d := range list {
		if !d.InUse || d.Problem != "" || len(d.Fingerprint) != 64 || len(d.Words) != 4 || len(d.Names) == 0 {
			t.Errorf("got %+v", d)
		}
	}
	if list[0].Fingerprint != c.Fingerprint() || slices.Equal(list[0].Words, list[1].Words) {
		t.Errorf("got %+v", list)
	}
	if again := m.open(t, c.dir).Describe(); !slices.Equal(again[1].Words, list[1].Words) {
		t.Errorf("the words went from %v to %v", list[1].Words, again[1].Words)
	}
}

func TestWordList(t *testing.T) {
	list := strings.Fields(wordList)
	slices.Sort(list)
	if n := len(slices.Compact(list)); n != 256 {
		t.Errorf("there are %d different words, want 256", n)
	}
	// These are on paper somewhere: another order or stretch would change them all.
	if got := strings.Join(words([]byte("a certificate")), " "); got != "album bubble melon apron" {
		t.Errorf("got %q", got)
	}
}

func TestConditions(t *testing.T) {
	m := newMachine()
	c := m.open(t, t.TempDir())
	chain, key := upload(t, newIssuer(t, "Test", nil), &leaf{DNSNames: []string{"box.example.org"}, NotAfter: now().AddDate(0, 0, 30)})
	if err := c.SetOwn(chain, key); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		days int
		want string
	}{
		{"30 days before", 0, ""},
		{"22 days before", 8, ""},
		{"20 days before", 10, "certificate-expires warning"},
		{"the day after", 31, "certificate-expired critical"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m.time = now().AddDate(0, 0, tt.days)
			if got := codes(c.Conditions()); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	since := c.Conditions()[0].Since
	if again := c.Conditions()[0].Since; !again.Equal(since) {
		t.Error("a condition that lasts begins again")
	}
	if err := c.RemoveOwn(); err != nil || len(c.Conditions()) != 0 {
		t.Errorf("without it there is %v (%v)", c.Conditions(), err)
	}
}

func codes(list []health.Condition) string {
	var parts []string
	for _, c := range list {
		if c.Title == "" || c.Detail == "" || c.Since.IsZero() {
			return "incomplete"
		}
		parts = append(parts, c.Code+" "+string(c.Severity))
	}
	return strings.Join(parts, ", ")
}

// TestUnfinishedFilesGo: a key that a power cut left half written is removed, what others keep there is not.
func TestUnfinishedFilesGo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "breakwater.db"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := whole.Create(dir); err != nil {
		t.Fatal(err)
	}
	c, err := Open(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	if want := []string{"breakwater.db", CertificateFile, keyFile}; !slices.Equal(names, want) {
		t.Errorf("there is %v, want %v", names, want)
	}
}

func TestABrokenOwnCertificateIsACondition(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, ownFile), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := newMachine().open(t, dir)
	if got := codes(c.Conditions()); got != "certificate-unreadable warning" {
		t.Errorf("got %q", got)
	}
	if d := c.Describe(); len(d) != 2 || d[1].Problem == "" || d[1].InUse {
		t.Errorf("got %+v", d)
	}
	if err := c.RemoveOwn(); err != nil || len(c.Conditions()) != 0 || len(c.Describe()) != 1 {
		t.Errorf("it cannot be removed: %v", err)
	}
}
