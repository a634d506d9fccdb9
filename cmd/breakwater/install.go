package main

import (
	"bufio"
	"context"
	"fmt"

	"breakwater/web/api"
)

// installCmd is the console's dialogue on its own.
type installCmd struct {
	Socket string `help:"Socket of the control process." default:"/run/breakwater/control.sock" type:"path" placeholder:"SOCKET"`
}

// Run asks on the terminal, and says there how it ended.
func (c *installCmd) Run(ctx context.Context, e *env) error {
	var setup api.Setup
	if err := overSocket(c.Socket).get(ctx, "/api/v1/setup-code", &setup); err != nil {
		return fmt.Errorf("ask whether this stick has an owner: %w", err)
	}
	lines := bufio.NewReader(e.stdin)
	ask := func(question string) (string, error) {
		if _, err := fmt.Fprint(e.stdout, question, ": "); err != nil {
			return "", err
		}
		return lines.ReadString('\n')
	}
	return newInstaller(ask, e.stdout, setup.Claimed).dialog(ctx)
}
