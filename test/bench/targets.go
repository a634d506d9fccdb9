package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
)

// The targets, in the order they take turns.
const (
	targetNone    = "no proxy"
	targetRouted  = "routed"
	targetHaproxy = "haproxy"
	targetSplice  = "haproxy splice"
	targetNginx   = "nginx"
	targetUser    = "breakwater user"
	targetKernel  = "breakwater kernel"
	targetShield  = "breakwater shield" // the kernel path behind it
)

// target is one way from the client to the origin.
type target struct {
	name       string
	dial       netip.AddrPort // TCP and UDP
	originPort uint16         // each target has its own, so that no port is found in TIME_WAIT of another
	header     Header
	udp        bool
	start      func(*target) (*process, error) // nil: nothing runs in the box
	proxy      *process
}

// pids are the processes of the target's proxy.
func (t *target) pids() []int {
	if t.proxy == nil {
		return nil
	}
	return family(t.proxy.pid())
}

func (t *target) restart() error {
	if err := t.stop(); err != nil || t.start == nil {
		return err
	}
	p, err := t.start(t)
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	t.proxy = p
	return nil
}

func (t *target) stop() error {
	if t.proxy == nil {
		return nil
	}
	p := t.proxy
	t.proxy = nil
	return p.stop()
}

// maxSessions is what the proxies are told to take: two descriptors each, below the usual hard limit of 20,000.
const maxSessions = 9600

// makers build the targets; core is the measured one.
func makers(core int, breakwater string) []target {
	box := func(port uint16) netip.AddrPort { return netip.AddrPortFrom(boxAddress, port) }
	return []target{
		{name: targetNone, dial: netip.AddrPortFrom(directAddress, 7000), originPort: 7000, header: HeaderNone, udp: true},
		{name: targetRouted, dial: netip.AddrPortFrom(boxOrigin, 7001), originPort: 7001, header: HeaderNone, udp: true},
		{name: targetHaproxy, dial: box(8002), originPort: 7002, header: HeaderV2, start: haproxy(core, "")},
		{name: targetSplice, dial: box(8003), originPort: 7003, header: HeaderV2, start: haproxy(core, "option splice-request\n    option splice-response")},
		{name: targetNginx, dial: box(8004), originPort: 7004, header: HeaderV1, udp: true, start: nginx(core)},
		{name: targetUser, dial: netip.AddrPortFrom(edgeAddress, 8005), originPort: 7005, header: HeaderV2, udp: true, start: breakwaterEdge(core, breakwater, userEngine)},
		{name: targetKernel, dial: netip.AddrPortFrom(kernelAddress, 8006), originPort: 7006, header: HeaderV2, udp: true, start: breakwaterEdge(core, breakwater, kernelEngine)},
		{name: targetShield, dial: netip.AddrPortFrom(shieldAddress, 8007), originPort: 7007, header: HeaderV2, udp: true, start: breakwaterEdge(core, breakwater, shieldEngine)},
	}
}

// originPorts are what the origin process listens on for the targets.
func originPorts(targets []target) []originPort {
	ports := make([]originPort, 0, len(targets))
	for _, t := range targets {
		ports = append(ports, originPort{Listen: netip.AddrPortFrom(netip.IPv4Unspecified(), t.originPort), Header: t.header})
	}
	return ports
}

// haproxyConfig: one thread, no logs, stock buffers. The pipes of the splice variant are bounded only because
// they would not fit under the descriptor limit beside the sessions.
const haproxyConfig = `global
    nbthread 1
    maxconn %d
    maxpipes 256
defaults
    mode tcp
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    %s
listen bench
    bind %s
    server origin %s:%d send-proxy-v2
`

func haproxy(core int, options string) func(*target) (*process, error) {
	return func(t *target) (*process, error) {
		path := filepath.Join(workDir, fmt.Sprintf("haproxy-%d.cfg", t.dial.Port()))
		config := fmt.Sprintf(haproxyConfig, maxSessions, options, t.dial, boxOrigin, t.originPort)
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
		return startIn(boxNS, core, "haproxy", "-db", "-q", "-f", path)
	}
}

// nginxConfig: one worker, no logs, stock buffers. Its proxy_protocol is v1; nginx 1.22 cannot send v2.
const nginxConfig = `%s
daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid %s/nginx.pid;
error_log stderr crit;
events { worker_connections 20000; }
stream {
    access_log off;
    server { listen %[3]s; proxy_pass %[4]s:%[5]d; proxy_protocol on; }
    server { listen %[3]s udp; proxy_pass %[4]s:%[5]d; }
}
`

// nginxStreamModule is where Debian puts the module; elsewhere it is built in.
const nginxStreamModule = "/usr/lib/nginx/modules/ngx_stream_module.so"

func nginx(core int) func(*target) (*process, error) {
	return func(t *target) (*process, error) {
		load := ""
		if _, err := os.Stat(nginxStreamModule); err == nil {
			load = "load_module " + nginxStreamModule + ";"
		}
		path := filepath.Join(workDir, "nginx.conf")
		config := fmt.Sprintf(nginxConfig, load, workDir, t.dial, boxOrigin, t.originPort)
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			return nil, fmt.Errorf("write configuration: %w", err)
		}
		return startIn(boxNS, core, "nginx", "-e", "stderr", "-p", workDir, "-c", path)
	}
}
