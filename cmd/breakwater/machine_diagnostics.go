package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"breakwater/appliance/host"
	"breakwater/web/api"
)

const (
	// maxBundle bounds what is taken from control, in bytes. A bundle has a few hundred thousand.
	maxBundle = 256 << 20
	// journalLines are what is written instead when control does not answer.
	journalLines = "5000"
)

// diagnosticsCmd is systemd/breakwater-diagnostics.service. What it mounts is seen by that unit only.
type diagnosticsCmd struct {
	Socket string `help:"Socket of the control process." default:"/run/breakwater/control.sock" type:"path" placeholder:"SOCKET"`
	Mount  string `help:"Where the stick is mounted." default:"/run/breakwater-diagnostics" type:"path" placeholder:"DIR"`
}

func (c *diagnosticsCmd) Run(ctx context.Context) error {
	name, err := c.write(ctx)
	return tell(name, err)
}

func (c *diagnosticsCmd) write(ctx context.Context) (name string, err error) {
	stick, err := host.FindStick("/")
	if err != nil {
		return "", err
	}
	if err := stick.Mount(c.Mount); err != nil {
		return "", err
	}
	defer func() {
		if gone := unix.Unmount(c.Mount, 0); gone != nil && err == nil {
			err = fmt.Errorf("the USB stick could not be closed, what is on it may not be whole: %w", gone)
		}
	}()
	machine, err := os.Hostname()
	if err != nil {
		return "", err
	}
	return saveDiagnostics(ctx, overSocket(c.Socket), c.Mount, machine, time.Now(), journal)
}

// saveDiagnostics writes one file into dir and returns its name: the bundle that control makes, or else what journal
// returns.
func saveDiagnostics(ctx context.Context, box *client, dir, machine string, now time.Time, journal func(context.Context) ([]byte, error)) (string, error) {
	name := "breakwater-diagnostics-" + fileName(machine) + "-" + now.UTC().Format("20060102-150405")
	response, err := box.do(ctx, http.MethodGet, "/api/v1/diagnostics", nil, nil)
	if err == nil {
		defer response.Body.Close()
		return name + ".zip", saveFile(filepath.Join(dir, name+".zip"), response.Body)
	}
	lines, failed := journal(ctx)
	if failed != nil {
		return "", errors.Join(err, failed)
	}
	text := append([]byte("This is the log only: "+err.Error()+"\n\n"), api.Redact(lines)...)
	return name + ".txt", saveFile(filepath.Join(dir, name+".txt"), bytes.NewReader(text))
}

// fileName leaves of a host name what every file system takes.
func fileName(machine string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, machine)
}

// saveFile writes a new file to the end, on the medium too, or leaves none.
func saveFile(path string, content io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("write to the USB stick: %w", err)
	}
	n, err := io.Copy(f, io.LimitReader(content, maxBundle+1))
	if err == nil && n > maxBundle {
		err = errors.New("there is more of it than belongs there")
	}
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write to the USB stick: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// journal is the end of the log of Breakwater's own units.
func journal(ctx context.Context) ([]byte, error) {
	out, err := exec.CommandContext(ctx, "journalctl", "--no-pager", "--quiet", "--utc", "--output=short-iso", "--lines="+journalLines, "--unit=breakwater-*").Output()
	if err != nil {
		return nil, fmt.Errorf("read the log: %w", err)
	}
	return out, nil
}
