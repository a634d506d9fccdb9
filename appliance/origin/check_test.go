package origin

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/plan"
)

// listen accepts connections and says hello, as a game server that speaks first; got receives what was sent until
// the end, or the error.
func listen(t *testing.T) (address netip.AddrPort, got <-chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	out := make(chan string, 1)
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(conn, "hello")
			data, err := io.ReadAll(conn)
			time.Sleep(20 * time.Millisecond) // a client that closed at once has sent its reset by now
			_, bye := io.WriteString(conn, "bye")
			if err := errors.Join(err, bye, conn.Close()); err != nil {
				out <- err.Error()
			} else {
				out <- hex.EncodeToString(data)
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return l.Addr().(*net.TCPAddr).AddrPort(), out
}

func TestCheckTCP(t *testing.T) {
	address, got := listen(t)
	task := checkTask{address: address, health: plan.Health{Timeout: time.Second}}
	for _, kind := range []plan.TCPHeader{plan.TCPNone, plan.TCPV1, plan.TCPV2} {
		task.health.Header = kind
		if _, err := checkTCP(t.Context(), task); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
		sent := <-got
		switch kind {
		case plan.TCPNone:
			want(t, "none", sent, "")
		case plan.TCPV2:
			want(t, "v2", sent, "0d0a0d0a000d0a515549540a20000000")
		case plan.TCPV1:
			line, _ := hex.DecodeString(sent)
			if s := string(line); !strings.HasPrefix(s, "PROXY TCP4 127.0.0.1 127.0.0.1 ") ||
				!strings.HasSuffix(s, fmt.Sprintf(" %d\r\n", address.Port())) {
				t.Errorf("v1: got %q", s)
			}
		}
	}
}

func TestCheckTCPRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().(*net.TCPAddr).AddrPort()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = checkTCP(t.Context(), checkTask{address: address, health: plan.Health{Timeout: time.Second}})
	if err == nil || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v, want connection refused", err)
	}
}
