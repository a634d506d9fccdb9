package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/vishvananda/netns"
)

// The sockets and state of the two processes.
var (
	edgeSocket    = filepath.Join(labDir, "edge.sock")
	controlSocket = filepath.Join(labDir, "control.sock")
	controlDir    = filepath.Join(labDir, "control")
)

// Times of getting ready.
const (
	tryEvery  = 50 * time.Millisecond
	giveUp    = 30 * time.Second
	tryAnswer = 2 * time.Second // one attempt to get an answer
)

// carryTraffic waits for the processes, applies the document, and returns once packets go all the way.
func carryTraffic(ctx context.Context, c Config, doc document, net *network) (Access, error) {
	ctx, cancel := context.WithTimeout(ctx, giveUp)
	defer cancel()
	if err := until(ctx, "edge to listen", func() error { return dialUnix(ctx, edgeSocket) }); err != nil {
		return Access{}, err
	}
	if err := until(ctx, "control to listen", func() error { return dialUnix(ctx, controlSocket) }); err != nil {
		return Access{}, err
	}
	if !c.NoOrigin {
		at := netip.AddrPortFrom(originAddresses[0].Addr(), 443)
		if err := until(ctx, "the origin to answer", func() error { return seesAnswer(ctx, net.edge, at) }); err != nil {
			return Access{}, err
		}
	}
	access, err := applyDocument(ctx, c, doc)
	if err != nil {
		return Access{}, err
	}
	if doc.isOurs && !c.NoOrigin && !c.Empty {
		for _, addr := range doc.dialled {
			at := netip.AddrPortFrom(addr, 443)
			if err := until(ctx, "an answer through "+addr.String(), func() error { return seesAnswer(ctx, net.client, at) }); err != nil {
				return Access{}, err
			}
		}
	}
	return access, nil
}

// until tries until try succeeds or ctx ends. The error says what was waited for and what went wrong last.
func until(ctx context.Context, what string, try func() error) error {
	for {
		last := try()
		if last == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited for %s: %w", what, last)
		case <-time.After(tryEvery):
		}
	}
}

func dialUnix(ctx context.Context, path string) error {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return err
	}
	return conn.Close()
}

// seesAnswer connects from a namespace and reads the origin's line.
func seesAnswer(ctx context.Context, ns netns.NsHandle, at netip.AddrPort) error {
	return within(ns, func() error {
		d := net.Dialer{Timeout: tryAnswer}
		conn, err := d.DialContext(ctx, "tcp", at.String())
		if err != nil {
			return err
		}
		defer conn.Close() //nolint:errcheck // only read from
		if err := conn.SetReadDeadline(time.Now().Add(tryAnswer)); err != nil {
			return err
		}
		line, err := bufio.NewReader(conn).ReadBytes('\n')
		if err != nil {
			return err
		}
		return json.Unmarshal(line, new(Answer))
	})
}
