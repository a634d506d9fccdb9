package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"breakwater/appliance/access"
)

// hashPasswordCmd needs no box: a seed file is written where the box is not.
type hashPasswordCmd struct{}

func (hashPasswordCmd) Run(ctx context.Context, e *env) error {
	password, err := askPassword(ctx, e)
	if err != nil {
		return err
	}
	hash, err := access.HashPassword(ctx, password)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(e.stdout, string(hash))
	return err
}

// askPassword asks twice at a terminal, without showing what is typed; from a pipe it takes the first line.
func askPassword(ctx context.Context, e *env) (string, error) {
	terminal, ok := e.stdin.(*os.File)
	if !ok || !isTerminal(terminal) {
		return readPassword(e)
	}
	restore, err := hideTyping(terminal)
	if err != nil {
		return "", err
	}
	defer restore()
	lines := readHidden(terminal)
	var typed [2]string
	for i, prompt := range []string{"Password: ", "The same again: "} {
		fmt.Fprint(e.stderr, prompt)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case line, more := <-lines:
			if !more {
				return "", errors.New("read the password: the input ended")
			}
			typed[i] = line
		}
		fmt.Fprintln(e.stderr)
	}
	if typed[0] != typed[1] {
		return "", errors.New("the two passwords are not the same")
	}
	return typed[0], nil
}

// readHidden reads apart: a signal does not end a read from a terminal, and the echo must come back all the same. What
// still reads then ends with the process.
func readHidden(from io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(from); scanner.Scan(); {
			lines <- strings.TrimRight(scanner.Text(), "\r")
		}
	}()
	return lines
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// hideTyping turns the echo of a terminal off (termios(3)) until the returned function is called, also by Ctrl-C.
func hideTyping(terminal *os.File) (restore func(), err error) {
	fd := int(terminal.Fd())
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, fmt.Errorf("hide what is typed: %w", err)
	}
	hidden := *before
	hidden.Lflag &^= unix.ECHO
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, &hidden); err != nil {
		return nil, fmt.Errorf("hide what is typed: %w", err)
	}
	return func() { _ = unix.IoctlSetTermios(fd, unix.TCSETS, before) }, nil // the terminal is gone: nobody types
}
