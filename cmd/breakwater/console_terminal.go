package main

import (
	"bufio"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// interrupt is what Ctrl-C sends. It ends a dialogue and not this process.
const interrupt = '\x03'

// maxTyped bounds a line, in bytes.
const maxTyped = 1024

// listenTo returns the lines that are typed, until there is no more input; nil where there is none. The goroutine waits
// for a terminal, which nothing but input ends; it ends with the process.
func listenTo(in io.Reader) <-chan string {
	if in == nil {
		return nil
	}
	if f, ok := in.(*os.File); ok {
		prepareTerminal(f)
	}
	lines := make(chan string)
	go readLines(in, lines)
	return lines
}

// prepareTerminal lets the terminal go on collecting and showing lines by itself (termios(3), canonical mode), but give
// Ctrl-C to us as the end of a line, and take no key for the end of all input. What is no terminal stays as it is.
func prepareTerminal(f *os.File) {
	t, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		return
	}
	t.Lflag &^= unix.ISIG
	t.Cc[unix.VEOL], t.Cc[unix.VEOF] = interrupt, 0
	_ = unix.IoctlSetTermios(int(f.Fd()), unix.TCSETS, t) // then Ctrl-C ends this process, and systemd starts it again
}

// readLines sends each line without its end. A line that Ctrl-C ended is just that.
func readLines(in io.Reader, lines chan<- string) {
	defer close(lines)
	reader := bufio.NewReader(in)
	var line strings.Builder
	for {
		letter, err := reader.ReadByte()
		if err != nil {
			return
		}
		switch {
		case letter == interrupt:
			lines <- string(interrupt)
			line.Reset()
		case letter == '\n':
			lines <- strings.TrimSpace(clean(line.String()))
			line.Reset()
		case line.Len() < maxTyped:
			line.WriteByte(letter)
		}
	}
}
