//go:build e2e

package attack

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"breakwater/test/attack/flood"
	"breakwater/test/lab"
)

// The ports of servers for clients that nobody here wrote.
const sourcePort, minecraftPort = "27020", "25570"

// TestForeignClients floods until whatever rests in peace time is armed, and lets programs of others ask and play.
func TestForeignClients(t *testing.T) {
	m := begin(t)
	startOrigins(t)
	renew(t)
	startSource(t)
	startMinecraft(t)
	a := begun(t, m, vector{name: "everything", rate: 20_000, shapes: func(f family) []flood.Shape {
		return append(segments(flood.SYN, flood.ACK, 0)(f), flood.UDP(f.to(0, udpPort), raknetPing), flood.UDP(f.to(11211, udpPort), make([]byte, 900)))
	}})
	defer a.end(t)
	for range 2 { // the first begins while defences arm
		t.Run("gamedig", func(t *testing.T) { gamedig(t, families[0]) })
		t.Run("qstat", func(t *testing.T) { qstat(t, families[0]) })
	}
	for _, f := range families {
		t.Run("minecraft-protocol/"+f.name, func(t *testing.T) { minecraft(t, f) })
	}
}

func gamedig(t *testing.T, f family) {
	t.Helper()
	var answer struct {
		Name, Map, Error string
		MaxPlayers       int
	}
	out := ask(t, "node", module(t, "gamedig/bin/gamedig.js"), "--type", "protocol-valve", f.edge.String()+":"+sourcePort)
	if err := json.Unmarshal([]byte(out), &answer); err != nil {
		t.Fatalf("gamedig says %q: %v", out, err)
	}
	if answer.Name != serverName || answer.Map != serverMap || answer.MaxPlayers != 24 {
		t.Errorf("gamedig says %s", out)
	}
}

func qstat(t *testing.T, f family) {
	t.Helper()
	out := ask(t, "quakestat", "-raw", ";", "-a2s", f.edge.String()+":"+sourcePort)
	if !strings.Contains(out, serverName) || !strings.Contains(out, serverMap) {
		t.Errorf("qstat says %s", out)
	}
}

func minecraft(t *testing.T, f family) {
	t.Helper()
	out := ask(t, "node", absolute(t, minecraftScript), "client", minecraftPort, f.edge.String(), "Steve")
	if !strings.Contains(out, `"motd":"behind the box","max":7`) || !strings.Contains(out, "hello") {
		t.Errorf("the player's story is %s", out)
	}
}

// The server that Source queries ask (developer.valvesoftware.com/wiki/Server_queries).
const serverName, serverMap = "Behind the box", "harbour"

// startSource answers in the origin's IPv4 address: first with a challenge, and who repeats that with what it is.
func startSource(t *testing.T) {
	t.Helper()
	at, err := net.ResolveUDPAddr("udp", net.JoinHostPort(families[0].origin.String(), sourcePort))
	must(t, err)
	var s *net.UDPConn
	must(t, lab.Inside(lab.Origin, func() (err error) {
		s, err = net.ListenUDP("udp", at)
		return err
	}))
	t.Cleanup(func() { _ = s.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			n, from, err := s.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if reply := sourceAnswer(buf[:n], from); err == nil && reply != nil {
				_, _ = s.WriteToUDPAddrPort(reply, from)
			}
		}
	}()
}

func sourceAnswer(question []byte, from netip.AddrPort) []byte {
	const head, challenge = "\xff\xff\xff\xff", "\x0b\xad\xca\xfe"
	switch {
	case !bytes.HasPrefix(question, []byte(head)) || len(question) < 5:
		return nil
	case !bytes.HasSuffix(question, []byte(challenge)):
		return []byte(head + "A" + challenge)
	case question[4] == 'T':
		info := head + "I\x11" + serverName + "\x00" + serverMap + "\x00folder\x00game\x00\x0a\x00\x01\x18\x00dl\x00\x001.0\x00\x00"
		return []byte(info)
	case question[4] == 'U':
		return []byte(head + "D\x01\x00Alyx\x00\x05\x00\x00\x00\x00\x00\x80\x3f")
	case question[4] == 'V':
		return []byte(head + "E\x01\x00sv_gravity\x00800\x00")
	}
	return nil
}

const minecraftScript = "../e2e/foreign/minecraft.js"

func startMinecraft(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	args := []string{absolute(t, minecraftScript), "server", minecraftPort}
	for _, f := range families {
		args = append(args, f.origin.String())
	}
	cmd := command(t, ctx, "node", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	ended := make(chan error, 1)
	go func() { ended <- lab.Inside(lab.Origin, cmd.Run) }() // on the thread that started it
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for _, f := range families {
		eventually(t, func() error {
			c, err := dial(f.client, netip.MustParseAddrPort(net.JoinHostPort(f.edge.String(), minecraftPort)), connectLimit)
			if err != nil {
				return err
			}
			return c.Close()
		})
	}
}

func command(t *testing.T, ctx context.Context, name string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "NODE_PATH="+module(t, ""))
	return cmd
}

// ask runs a program and returns what it printed.
func ask(t *testing.T, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience) // node takes its time while the machine is busy
	defer cancel()
	cmd := command(t, ctx, name, args...)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", cmd, err, out, complaint.String())
	}
	return string(out)
}

// module is a file of what test/tools/setup installs from npm.
func module(t *testing.T, name string) string {
	t.Helper()
	return absolute(t, filepath.Join("../../build/npm/node_modules", name))
}

func absolute(t *testing.T, name string) string {
	t.Helper()
	path, err := filepath.Abs(name)
	must(t, err)
	return path
}
