package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"

	"breakwater/test/lab"
)

type labOriginCmd struct {
	Interface string   `help:"Interface to answer on." required:"" placeholder:"NAME"`
	Answer    []string `help:"Address to answer on, and the origin's name there." required:"" sep:"none" placeholder:"ADDRESS=NAME"`
}

func (c *labOriginCmd) Run(ctx context.Context, e *env) error {
	names := make(map[netip.Addr]string)
	for _, answer := range c.Answer {
		text, name, _ := strings.Cut(answer, "=")
		addr, err := netip.ParseAddr(text)
		if err != nil || name == "" {
			return fmt.Errorf("%w: %q is not an address and a name; write it like 198.18.2.2=games-1", errUsage, answer)
		}
		names[addr] = name
	}
	return lab.ServeOrigin(ctx, slog.New(slog.NewTextHandler(e.stderr, nil)), c.Interface, names)
}
