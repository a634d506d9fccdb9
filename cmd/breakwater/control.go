package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/crash"
	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/host"
	"breakwater/appliance/logs"
	"breakwater/appliance/seed"
	"breakwater/appliance/store"
	"breakwater/appliance/update"
	"breakwater/web"
	"breakwater/web/tls"
)

// logLines are the lines of the log that the page can show.
const logLines = 500

// crashFile is the crashes of control, in its state directory.
const crashFile = "crashes.json"

// checkWait bounds the check of the store at the start.
const checkWait = 30 * time.Second

type controlCmd struct {
	State     string `help:"Directory of the stored settings. Default: ${default}." default:"/var/lib/breakwater" type:"path" placeholder:"DIR"`
	Edge      string `help:"Socket of the edge process. Default: ${default}." default:"/run/breakwater/edge.sock" type:"path" placeholder:"SOCKET"`
	Socket    string `help:"Socket to listen on for the command line. Default: ${default}." default:"/run/breakwater/control.sock" type:"path" placeholder:"PATH"`
	Listen    string `help:"Address to listen on with TLS, such as 127.0.0.1:8443. Default: none." placeholder:"ADDR"`
	Appliance bool   `help:"The whole machine is Breakwater's: its network, its name, its versions, its power."`
}

func (c *controlCmd) Run(ctx context.Context, e *env) error {
	ring := logs.New(slog.NewTextHandler(e.stderr, nil), logLines)
	log := slog.New(ring)
	s, report, err := openStore(c.State)
	if err != nil {
		return err
	}
	defer func() {
		if err := s.Close(); err != nil {
			log.Error("close the store", "err", err)
		}
	}()
	if report.Damaged != "" {
		log.Error("the store was damaged and restored", "reason", report.Why, "kept", report.Damaged, "restored", report.Restored)
	}
	// Not before the store, which only one process at a time can have.
	crashes := crash.Open(crash.Options{File: filepath.Join(c.State, crashFile), Version: build(), Log: log})
	err = c.serve(ctx, log, control.Options{Store: s, Report: report, Edge: edgelink.New(c.Edge), Log: log, Version: version(),
		Records: ring.Records, Host: c.machine(), Machine: c.network(), Crashes: crashes, Update: c.updates(log),
		Lists: control.ListOptions{Dir: filepath.Join(c.State, "lists")}})
	crashes.End() // not when it panics
	return err
}

// serve runs until ctx ends.
func (c *controlCmd) serve(ctx context.Context, log *slog.Logger, o control.Options) error {
	certificates, err := tls.Open(c.State, log)
	if err != nil {
		return err
	}
	taker := seed.Taker{Dir: c.State, Log: log}
	o.Conditions = func() []health.Condition { return append(certificates.Conditions(), taker.Conditions()...) }
	core, err := control.New(o)
	if err != nil {
		return err
	}
	people, err := access.New(access.Options{Store: o.Store, Log: log})
	if err != nil {
		return err
	}
	server, err := web.Listen(web.Options{Control: core, Access: people, Certificates: certificates, Log: log, Socket: c.Socket, Address: c.Listen})
	if err != nil {
		return err
	}
	for _, a := range server.Addresses() {
		log.Info("listening", "address", a)
	}
	if c.Listen != "" {
		log.Info("certificate", "fingerprint", certificates.Fingerprint())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return core.Run(ctx) })
	taker.Control, taker.Access = core, people
	g.Go(func() error { return taker.Run(ctx) })
	g.Go(func() error { return server.Serve(ctx) })
	if err := notify("READY=1"); err != nil {
		log.Error("ready", "err", err)
	}
	g.Go(func() error {
		return keepAlive(ctx, log, func(ctx context.Context) error { return overSocket(c.Socket).get(ctx, "/api/v1/status", nil) })
	})
	return g.Wait()
}

// machine is what control may change of the system; nil: nothing.
func (c *controlCmd) machine() *host.Host {
	if c.Appliance {
		return &host.Host{}
	}
	return nil
}

// updates is how the machine comes to another version; the zero value: it does not.
func (c *controlCmd) updates(log *slog.Logger) control.UpdateOptions {
	machine := c.machine()
	if machine == nil {
		return control.UpdateOptions{}
	}
	key, err := update.ReadPublicKey(update.PublicKeyFile)
	if err != nil {
		log.Error("without the key of updates every update is refused", "err", err)
	}
	return control.UpdateOptions{Dir: filepath.Join(c.State, "update"), Key: key, System: func() host.System { return host.ReadSystem("/") },
		Install: func(ctx context.Context) error { return machine.Start(ctx, host.Update) }}
}

// network is that of the machine, where control may change it.
func (c *controlCmd) network() *control.Machine {
	m := c.machine()
	if m == nil {
		return nil
	}
	return &control.Machine{Apply: m.ApplyNetwork, Ports: func() []host.Port { return host.ReadPorts("/sys/class/net") }}
}

// openStore checks the store in a child: a file that is damaged in certain ways ends the process that reads it.
func openStore(dir string) (*store.Store, store.Report, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, store.Report{}, fmt.Errorf("find this program: %w", err)
	}
	return store.Open(dir, store.Options{Check: store.CheckBy(checkWait, self, "check-store")})
}

type checkStoreCmd struct {
	File string `arg:"" type:"path" help:"The file to check."`
}

func (c *checkStoreCmd) Run() error { return store.Check(c.File) }
