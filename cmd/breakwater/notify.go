package main

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strconv"
	"time"
)

// notify tells systemd about this process (sd_notify(3)): READY=1, WATCHDOG=1. Without systemd there is no socket and
// nobody to tell.
func notify(state string) error {
	socket := os.Getenv("NOTIFY_SOCKET")
	if socket == "" {
		return nil
	}
	conn, err := net.Dial("unixgram", socket) //nolint:gosec // systemd names the socket
	if err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell systemd: %w", err)
	}
	return nil
}

// keepAlive tells systemd that the process lives, as long as check says so; systemd restarts one that it does not hear
// from for WATCHDOG_USEC (sd_watchdog_enabled(3)). Without that it has nothing to do.
func keepAlive(ctx context.Context, log *slog.Logger, check func(context.Context) error) error {
	micros, err := strconv.ParseInt(os.Getenv("WATCHDOG_USEC"), 10, 64)
	if err != nil || micros <= 0 {
		return nil
	}
	every := time.Duration(micros) * time.Microsecond / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		attempt, cancel := context.WithTimeout(ctx, every)
		err := check(attempt)
		cancel()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			log.Error("check of this process itself", "err", err)
		default:
			if err := notify("WATCHDOG=1"); err != nil {
				log.Error("watchdog", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}
