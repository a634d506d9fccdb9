// Package lab is a whole network on one machine: a client, the box and an origin, each in a network namespace of
// its own, with edge and control running as they do on a real box.
//
//	err := lab.Run(ctx, lab.Config{Executable: "/usr/bin/breakwater", Listen: "127.0.0.1:8443"})
//
// bw-client 198.18.1.2 --- wan0 bw-edge lan0 --- 198.18.2.2 bw-origin
//
// Run owns everything below: three namespaces, the folder /run/breakwater/lab, the file /run/breakwater/lab.json
// and its child processes. All of it is gone when Run returns. What a killed lab left behind is removed by the next.
package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
)

// The namespaces of the lab.
const (
	Client = "bw-client"
	Edge   = "bw-edge"
	Origin = "bw-origin"
)

// Where a running lab keeps what others look for. The lock tells whether one runs.
const (
	runDir      = "/run/breakwater"
	labDir      = runDir + "/lab"
	lockFile    = runDir + "/lab.lock"
	defaultFile = runDir + "/lab.json"
	pinsDir     = "/sys/fs/bpf/breakwater-lab" // of the kernel path
)

// Config says what lab to run. Executable and Listen are required.
type Config struct {
	Executable string // the breakwater binary that the children run
	Listen     string // host:port of the API, in the caller's namespace
	Settings   string // file with the document to apply; empty: a document that shows every port and header
	NoOrigin   bool   // leave bw-origin empty for foreign servers
	Empty      bool   // apply no settings: a new box, to be claimed and set up in a browser
	Verbose    bool   // children log to Log instead of to files that end with the lab
	Headless   bool   // nobody looks: print one sentence
	JSON       bool   // print one line of JSON
	Out        io.Writer
	Log        io.Writer
}

// Ready is the line that tells scripts what they need. Its fields are part of the interface.
type Ready struct {
	Ready     bool   `json:"ready"`
	URL       string `json:"url"`
	Token     string `json:"token"` // an admin's
	Client    Host   `json:"client"`
	Edge      Host   `json:"edge"` // the addresses that clients dial
	Origin    Host   `json:"origin"`
	SetupCode string `json:"setupCode"` // claims the box in a browser, once
}

// Host is one end of the lab.
type Host struct {
	Netns     string       `json:"netns"`
	Addresses []netip.Addr `json:"addresses"`
}

// Access is the content of lab.json: how the command line reaches a running lab without being told.
type Access struct {
	URL         string `json:"url"`
	Token       string `json:"token"`
	Certificate string `json:"certificate"` // PEM file of the API's own certificate
	Socket      string `json:"socket"`
	Fingerprint string `json:"fingerprint"` // SHA-256 of the certificate, as browsers show it
	SetupCode   string `json:"setupCode"`   // claims the box in a browser, once
}

// Run builds the lab, prints how to use it once it carries traffic, and takes it down when ctx ends.
// It needs root.
func Run(ctx context.Context, c Config) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("needs root, because it creates network namespaces; try it with sudo")
	}
	doc, err := readDocument(c.Settings)
	if err != nil {
		return err
	}
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := removeAll(); err != nil {
		return fmt.Errorf("remove what an earlier lab left: %w", err)
	}
	defer func() { err = errors.Join(err, removeAll()) }()

	if err := os.MkdirAll(labDir, 0o700); err != nil {
		return err
	}
	net, err := build(doc, !c.NoOrigin)
	if err != nil {
		return err
	}
	defer net.close()
	if err := net.checkTPROXY(); err != nil {
		return err
	}
	return serve(ctx, c, doc, net)
}

// serve runs the processes of the lab until ctx ends or one of them gives up.
func serve(ctx context.Context, c Config, doc document, net *network) error {
	family := newFamily(ctx, c)
	defer family.stop()

	family.start(process{name: "edge", netns: net.edge, args: []string{"edge", "--socket", edgeSocket, "--state", filepath.Join(labDir, "edge"), "--pins", pinsDir}})
	if !c.NoOrigin {
		family.start(process{name: "origin", netns: net.origin, args: originArgs(doc)})
	}
	family.start(process{name: "control", netns: net.host, args: []string{
		"control", "--state", controlDir, "--edge", edgeSocket, "--socket", controlSocket, "--listen", c.Listen}})

	access, err := carryTraffic(family.ctx, c, doc, net)
	if err != nil {
		return family.explain(err)
	}
	family.settled.Store(true)
	if err := writeAccess(access); err != nil {
		return err
	}
	if err := announce(c, doc, access); err != nil {
		return err
	}
	<-family.ctx.Done()
	if ctx.Err() != nil {
		return nil // asked to end
	}
	return family.explain(family.ctx.Err())
}

// writeAccess leaves lab.json for the command line. Only root may read it: it holds an admin's token.
func writeAccess(a Access) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return os.WriteFile(defaultFile, append(text, '\n'), 0o600)
}

// ServeOrigin answers on every port of interfaceName until ctx ends; names gives each address its origin's name.
func ServeOrigin(ctx context.Context, log *slog.Logger, interfaceName string, names map[netip.Addr]string) error {
	o := &origin{log: log, names: names}
	return o.run(ctx, interfaceName)
}
