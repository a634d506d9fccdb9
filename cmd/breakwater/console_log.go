package main

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

const (
	logLinesShown = "10"
	logLineLength = 200 // characters
	logWait       = 5 * time.Second
)

// controlLog is the end of control's log, or why it cannot be read. The unit of the console is in the group that may
// (systemd-journald.service(8), ACCESS CONTROL).
func controlLog(ctx context.Context) []string {
	ctx, cancel := context.WithTimeout(ctx, logWait)
	defer cancel()
	out, err := exec.CommandContext(ctx, "journalctl", "--no-pager", "--quiet", "--output=cat", "--lines="+logLinesShown, "--unit=breakwater-control.service").Output()
	if err != nil {
		return []string{"its log cannot be read: " + err.Error()}
	}
	return shortLines(string(out))
}

func shortLines(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		letters := []rune(strings.TrimSpace(line))
		if len(letters) > logLineLength {
			letters = append(letters[:logLineLength], '…')
		}
		lines = append(lines, string(letters))
	}
	return lines
}
