//go:build vm

package vm

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"breakwater/appliance/header"
)

// serveTCP is an origin that says in one line what the PROXY header told it, and ends.
func serveTCP(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err == nil {
				go tell(conn)
			}
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

func tell(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for n := 16; n <= 512; n++ { // a health check sends nothing, and this ends with it
		whole, err := r.Peek(n)
		if err != nil {
			return
		}
		if h, size, err := header.Parse(whole); err == nil && size > 0 {
			_, _ = fmt.Fprintf(conn, "%s to %s\n", h.Source.Addr(), h.Destination) // the player sees what is missing
			return
		}
	}
}

// serveUDP does the same with datagrams.
func serveUDP(t *testing.T) int {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	go func() {
		buffer := make([]byte, 2048)
		for {
			n, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			if h, payload, err := header.ParseDatagram(buffer[:n]); err == nil {
				_, _ = conn.WriteTo(fmt.Appendf(nil, "%s to %s: %s", h.Source.Addr(), h.Destination, payload), from) // as above
			}
		}
	}()
	return conn.LocalAddr().(*net.UDPAddr).Port
}

func playTCP(t *testing.T, port int) {
	conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), answerWait)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(answerWait)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello\n"); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if want := "198.18.1.2 to 198.18.1.10:25565\n"; err != nil || string(got) != want {
		t.Errorf("the origin told %q, %v; want %q", got, err, want)
	}
}

// playUDP asks again, as datagrams may be lost.
func playUDP(t *testing.T, port int) {
	conn, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const payload = "a payload that is long enough for the answer to be no amplification"
	buffer := make([]byte, 2048)
	for range 5 {
		if _, err := io.WriteString(conn, payload); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(answerWait / 5)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buffer)
		if err != nil {
			continue
		}
		if got, want := string(buffer[:n]), "198.18.1.2 to 198.18.1.10:25565: "+payload; got != want {
			t.Errorf("the origin told %q, want %q", got, want)
		}
		return
	}
	t.Error("no answer to five datagrams")
}
