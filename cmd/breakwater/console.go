package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/web/api"
	webtls "breakwater/web/tls"
)

const (
	consoleEvery = 2 * time.Second // how often control is asked
	consoleWait  = 5 * time.Second // for all of its answers
	// consoleAgain is how often the same screen is drawn again: somebody may have plugged in just now.
	consoleAgain = 15 * time.Second
	clearScreen  = "\x1b[H\x1b[2J\x1b[3J" // ECMA-48; the last clears what scrolled away
)

type consoleCmd struct {
	Socket string `help:"Socket of the control process." default:"/run/breakwater/control.sock" type:"path" placeholder:"SOCKET"`
}

// Run draws until ctx ends.
func (c *consoleCmd) Run(ctx context.Context, e *env) error {
	box := overSocket(c.Socket)
	ticker := time.NewTicker(consoleEvery)
	defer ticker.Stop()
	var shown string
	var drawn time.Time
	for {
		if text := look(ctx, box).text(); text != shown || time.Since(drawn) > consoleAgain {
			shown, drawn = text, time.Now()
			if err := draw(e.stdout, text); err != nil {
				return fmt.Errorf("draw the console: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func draw(w io.Writer, text string) error {
	_, err := fmt.Fprintf(w, "%s%s\n%s\n", clearScreen, text, time.Now().UTC().Format("2006-01-02 15:04:05 UTC"))
	return err
}

// look asks the kernel and control. What does not answer is left out, which the screen shows: the network is there
// also while nothing else is.
func look(ctx context.Context, box *client) screen {
	ctx, cancel := context.WithTimeout(ctx, consoleWait)
	defer cancel()
	s := screen{system: host.ReadSystem("/"), ports: host.ReadPorts("/sys/class/net")}
	s.trouble = box.get(ctx, "/api/v1/status", &s.status)
	if s.trouble == nil {
		s.trouble = box.get(ctx, "/api/v1/setup-code", &s.setup)
	}
	if s.trouble == nil {
		s.trouble = box.get(ctx, "/api/v1/certificates", &s.certificates)
	}
	return s
}

// screen is what the console shows.
type screen struct {
	system       host.System
	ports        []host.Port
	trouble      error // why control does not answer
	status       control.Status
	setup        api.Setup
	certificates []webtls.Certificate
}
