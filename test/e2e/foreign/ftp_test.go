//go:build e2e

package foreign

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"breakwater/test/lab"
)

// FTP greets before the client says a word, moves each file over a connection to a port that the server names, and
// refuses that connection when it comes from elsewhere than the first. This server knows no PROXY header.
func TestFTPOverTransparentPorts(t *testing.T) {
	dir := t.TempDir()
	file := make([]byte, 8<<20)
	rand.NewChaCha8([32]byte{}).Read(file)
	if err := os.WriteFile(filepath.Join(dir, "map.pak"), file, 0o600); err != nil {
		t.Fatal(err)
	}
	eachFamily(t, func(t *testing.T, f family) {
		// Debian's own Python has the library; another one may come first in PATH.
		ftp := start(t, lab.Origin, "/usr/bin/python3", "-m", "pyftpdlib",
			"-i", f.origin.String(), "-p", "2121", "-r", "30000-30003", "-d", dir)
		ftp.awaitListening(t, f.origin, 2121)

		got := ask(t, "curl", "--silent", "--show-error", "--noproxy", "*", fmt.Sprintf("ftp://%s/map.pak", f.at(2121)))
		if !bytes.Equal([]byte(got), file) {
			t.Errorf("got %d bytes, want the %d bytes of the file", len(got), len(file))
		}
		sent := regexp.MustCompile(regexp.QuoteMeta(f.client.String()) + `:\d+-\[anonymous\] RETR \S+ completed=1 bytes=8388608`)
		eventually(t, func() error {
			if !sent.MatchString(ftp.said.String()) {
				return fmt.Errorf("the FTP server has not sent the file to %s", f.client)
			}
			return nil
		})
	})
}
