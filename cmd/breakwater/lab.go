package main

import (
	"context"
	"fmt"
	"os"

	"breakwater/test/lab"
)

type labCmd struct {
	Settings string `help:"Settings document to apply. Default: one that shows every port and PROXY header." type:"path" placeholder:"FILE"`
	Origin   string `help:"builtin: a server that answers every port with what it sees. none: leave bw-origin to servers of your own. Default: ${default}." enum:"builtin,none" default:"builtin" placeholder:"KIND"`
	Empty    bool   `help:"Apply no settings: a new box, to be set up in the page."`
	Listen   string `help:"Address of the page and the API. Default: ${default}." default:"127.0.0.1:8443" placeholder:"ADDR"`
	Headless bool   `help:"Run without a terminal: print one sentence."`
	JSON     bool   `help:"Print one line of JSON once the lab carries traffic." name:"json"`
	Verbose  bool   `help:"Show what the processes log."`
}

func (c *labCmd) Run(ctx context.Context, e *env) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find the own binary: %w", err)
	}
	err = lab.Run(ctx, lab.Config{
		Executable: self, Listen: c.Listen, Settings: c.Settings, NoOrigin: c.Origin == "none", Empty: c.Empty,
		Verbose: c.Verbose, Headless: c.Headless, JSON: c.JSON, Out: e.stdout, Log: e.stderr,
	})
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}
