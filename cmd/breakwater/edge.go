package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"breakwater/appliance/edge"
	"breakwater/appliance/kernel"
	"breakwater/appliance/logs"
	"breakwater/appliance/steering"
)

type edgeCmd struct {
	Socket string        `help:"Socket to listen on for control. Default: ${default}." default:"/run/breakwater/edge.sock" type:"path" placeholder:"PATH"`
	State  string        `help:"Directory of the plan in force. Default: ${default}." default:"/var/lib/breakwater/edge" type:"path" placeholder:"DIR"`
	Pins   string        `help:"Directory of the kernel path's maps, in a file system of type bpf. Empty: the user path carries everything. Default: ${default}." default:"/sys/fs/bpf/breakwater" placeholder:"DIR"`
	Drain  time.Duration `help:"How long sessions may go on after the end was asked for. Default: ${default}." default:"0s" placeholder:"TIME"`
	Clear  bool          `help:"Remove everything of Breakwater from the kernel, and end."`
}

func (c *edgeCmd) Run(ctx context.Context, e *env) error {
	if os.Geteuid() != 0 {
		return errors.New("edge needs root, or CAP_NET_ADMIN and CAP_NET_RAW: it takes connections for foreign addresses")
	}
	if c.Clear {
		return c.clear()
	}
	// A worker keeps its processor slot while it sleeps; the rest of the process needs one more (proxy.epollWait).
	runtime.GOMAXPROCS(runtime.NumCPU() + 1)
	if err := os.MkdirAll(filepath.Dir(c.Socket), 0o755); err != nil { //nolint:gosec // the socket itself is protected
		return fmt.Errorf("make the socket's directory: %w", err)
	}
	ring := logs.New(slog.NewTextHandler(e.stderr, nil), logs.Size)
	log := slog.New(ring)
	return edge.Run(ctx, edge.Options{
		Socket: c.Socket, State: c.State, Drain: c.Drain, Version: version(), Build: build(),
		Pins: c.Pins, Log: log, Records: ring.Records,
		Ready: func() error {
			if err := notify("READY=1"); err != nil {
				return err
			}
			return keepAlive(ctx, log, func(ctx context.Context) error { return overSocket(c.Socket).get(ctx, "/status", nil) })
		},
	})
}

// clear removes the plans as well: the next edge would put one back. An edge that lives would repair at once
// what was removed.
func (c *edgeCmd) clear() error {
	if conn, err := net.DialTimeout("unix", c.Socket, time.Second); err == nil {
		_ = conn.Close()
		return fmt.Errorf("an edge is serving %s; stop it first, or it puts everything back", c.Socket)
	}
	for _, name := range edge.Kept() {
		if err := os.Remove(filepath.Join(c.State, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("forget the plan: %w", err)
		}
	}
	return errors.Join(steering.Clear(), kernel.Clear(c.Pins))
}
