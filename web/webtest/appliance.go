package webtest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/appliance/update"
)

// The version that an appliance of a test runs, and one that it can be brought to.
const (
	Running = "20261101.000000"
	Newer   = "20261129.090833"
)

// Machine is the appliance under a site, as far as its versions are concerned. Nothing is written to any slot.
type Machine struct {
	Key ed25519.PrivateKey // that signs its updates

	mu     sync.Mutex
	system host.System
	fault  error
	hold   chan struct{}
}

// Appliance makes a site that of a whole machine, without a system bus: no test may restart the machine that it runs on.
func Appliance(t testing.TB) func(*control.Options) {
	t.Setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path="+filepath.Join(t.TempDir(), "none"))
	return func(o *control.Options) { o.Host = &host.Host{} }
}

// StartAppliance runs a site that is an appliance.
func StartAppliance(t testing.TB) (*Site, *Machine) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	must(t, err)
	m := &Machine{Key: key, system: host.System{Version: Running, Slot: "A"}}
	return Start(t, Appliance(t), func(o *control.Options) {
		o.Update = control.UpdateOptions{Dir: t.TempDir(), Key: public, System: m.System, Install: m.install}
	}), m
}

// System is what runs.
func (m *Machine) System() host.System {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.system
}

// Runs sets what runs.
func (m *Machine) Runs(s host.System) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.system = s
}

// Fail lets every installation end with err.
func (m *Machine) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fault = err
}

// Hold lets installations wait until the function that it returns is called.
func (m *Machine) Hold() (release func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.hold = make(chan struct{})
	return sync.OnceFunc(func() { close(m.hold) })
}

func (m *Machine) install(ctx context.Context) error {
	m.mu.Lock()
	hold, fault := m.hold, m.fault
	m.mu.Unlock()
	if hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
		}
	}
	if fault == nil {
		m.mu.Lock()
		m.system.Other = Newer
		m.mu.Unlock()
	}
	return fault
}

// Update is an update to a version, whose system has size bytes.
func (m *Machine) Update(t testing.TB, version string, size int) []byte {
	t.Helper()
	var out bytes.Buffer
	name := "breakwater_" + version
	must(t, update.Write(&out, m.Key, update.Release{Version: version, Schema: 1, Notes: "### Added\n\n- What is <new>."}, fstest.MapFS{
		name + ".efi": {Data: []byte("a kernel")}, name + ".root." + strings.Repeat("1", 32) + ".raw": {Data: make([]byte, size)},
		name + ".verity." + strings.Repeat("2", 32) + ".raw.gz": {Data: []byte("hashes")}}))
	return out.Bytes()
}
