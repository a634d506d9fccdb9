package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
	"breakwater/appliance/settings"
	"breakwater/web/api"
	webtls "breakwater/web/tls"
)

const (
	consoleEvery = 2 * time.Second // how often control is asked
	consoleWait  = 5 * time.Second // for all of its answers
	// consoleAgain is how often the same screen is drawn again: somebody may have plugged in just now.
	consoleAgain = 15 * time.Second
	// consoleLate is after how long without control the end of its log is shown.
	consoleLate = 30 * time.Second
	clearScreen = "\x1b[H\x1b[2J\x1b[3J" // ECMA-48; the last clears what scrolled away
)

type consoleCmd struct {
	Socket string `help:"Socket of the control process. Default: ${default}." default:"/run/breakwater/control.sock" type:"path" placeholder:"SOCKET"`
}

// Run draws until ctx ends, and opens the menu for who presses Enter.
func (c *consoleCmd) Run(ctx context.Context, e *env) error {
	box := overSocket(c.Socket)
	lines := listenTo(e.stdin)
	ticker := time.NewTicker(consoleEvery)
	defer ticker.Stop()
	view := viewer{out: e.stdout}
	for {
		s := look(ctx, box)
		if err := view.show(ctx, s, lines != nil); err != nil {
			return fmt.Errorf("draw the console: %w", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		case _, open := <-lines:
			if !open {
				lines = nil
				continue
			}
			m := menu{dialogue{lines, e.stdout, menuIdle}, box, (&host.Host{}).Run, s}
			m.open(ctx)
			view.shown = "" // the menu is in its place
		}
	}
}

// viewer draws a screen when it is another one than before.
type viewer struct {
	out   io.Writer
	shown string
	drawn time.Time
	up    time.Time // when control last answered, or the first screen was drawn
	log   []string  // the end of control's log, read anew with every consoleAgain
	read  time.Time
}

func (v *viewer) show(ctx context.Context, s screen, menu bool) error {
	now := time.Now()
	if s.trouble == nil || v.up.IsZero() {
		v.up = now
	}
	if now.Sub(v.up) > consoleLate {
		if now.Sub(v.read) > consoleAgain {
			v.log, v.read = controlLog(ctx), now
		}
		s.log = v.log
	}
	text := s.text()
	if menu {
		text += "\nEnter  menu\n"
	}
	if text == v.shown && now.Sub(v.drawn) <= consoleAgain {
		return nil
	}
	v.shown, v.drawn = text, now
	_, err := fmt.Fprintf(v.out, "%s%s\n%s\n", clearScreen, text, now.UTC().Format("2006-01-02 15:04:05 UTC"))
	return err
}

// look asks the kernel and control. What does not answer is left out, which the screen shows: the network is there
// also while nothing else is.
func look(ctx context.Context, box *client) screen {
	ctx, cancel := context.WithTimeout(ctx, consoleWait)
	defer cancel()
	s := screen{system: host.ReadSystem("/"), ports: host.ReadPorts("/sys/class/net"), made: host.ReadMade("/sys/class/net")}
	if disks, err := host.ReadDisks("/"); err == nil { // else there is nothing to offer
		s.stick = installHint(disks)
	}
	s.trouble = box.get(ctx, "/api/v1/status", &s.status)
	if s.trouble == nil {
		s.trouble = box.get(ctx, "/api/v1/setup-code", &s.setup)
	}
	if s.trouble == nil {
		s.trouble = box.get(ctx, "/api/v1/certificates", &s.certificates)
	}
	if s.trouble == nil && s.status.Pending == nil { // what may be taken back leaves the old addresses on the screen
		_ = box.get(ctx, "/api/v1/settings", &s.settings) // there may be none yet
	}
	return s
}

// screen is what the console shows.
type screen struct {
	system       host.System
	ports        []host.Port
	made         []host.Port // of ports: VLANs and bonds
	stick        string      // what is to be said of the stick that the box runs from; empty: it does not
	trouble      error       // why control does not answer
	log          []string    // of control, when it does not for long
	status       control.Status
	setup        api.Setup
	certificates []webtls.Certificate
	settings     settings.Settings // in force; empty: there are none, or others are tried
}
