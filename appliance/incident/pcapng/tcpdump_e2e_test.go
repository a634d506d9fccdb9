//go:build e2e

package pcapng

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
)

// TestTcpdumpReadsIt lets somebody else's reader say what is in the file.
func TestTcpdumpReadsIt(t *testing.T) {
	var file, complaints bytes.Buffer
	if err := Write(&file, "Breakwater test", packets()); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("tcpdump", "-r", "-", "-n", "-tt", "--nano")
	cmd.Stdin, cmd.Stderr = &file, &complaints
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, complaints.String())
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d packets, want 3: %s", len(lines), out)
	}
	for i, want := range []string{"1800000000.123456789 IP 192.0.2.1.123 > 198.18.1.10.27015", "1800000001.123456789 IP 192.0.2.1.123 > 198.18.1.10.27015", "1800000002.123456789 IP 192.0.2.1.123 > 198.18.1.10.27015"} {
		if !strings.HasPrefix(lines[i], want) {
			t.Errorf("packet %d: got %s, want %s", i, lines[i], want)
		}
	}
}
