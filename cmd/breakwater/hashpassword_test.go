package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// newTerminal is a new one (pty(7)) and the keyboard of it.
func newTerminal(t *testing.T) (screen, keyboard *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = keyboard.Close() })
	fd := int(keyboard.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	screen, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = screen.Close() })
	return screen, keyboard
}

func echoes(t *testing.T, f *os.File) bool {
	t.Helper()
	state, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// TestHashPasswordAtATerminal asks twice and shows nothing, and the terminal is as it was, also after Ctrl-C.
func TestHashPasswordAtATerminal(t *testing.T) {
	for _, test := range []struct {
		name  string
		typed []string
		want  string
	}{
		{"the same", []string{"seven boats under granite 42", "seven boats under granite 42"}, "$argon2id$v=19$m=19456,t=2,p=1$"},
		{"another", []string{"seven boats under granite 42", "seven boats under granite 43"}, "the two passwords are not the same"},
		{"Ctrl-C", []string{"seven boats"}, "context canceled"},
	} {
		t.Run(test.name, func(t *testing.T) {
			screen, keyboard := newTerminal(t)
			ctx, interrupt := context.WithCancel(t.Context())
			defer interrupt()
			var out, prompts bytes.Buffer
			ended := make(chan error, 1)
			go func() { ended <- hashPasswordCmd{}.Run(ctx, &env{screen, &out, &prompts}) }()
			for deadline := time.Now().Add(30 * time.Second); echoes(t, screen); time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("what is typed is shown")
				}
			}
			for _, line := range test.typed {
				if _, err := keyboard.WriteString(line + "\n"); err != nil {
					t.Fatal(err)
				}
			}
			if len(test.typed) == 1 {
				interrupt()
			}
			err := <-ended
			if got := fmt.Sprint(out.String(), err); !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if !echoes(t, screen) {
				t.Error("the terminal hides what is typed still")
			}
			if strings.Contains(prompts.String(), "boats") {
				t.Errorf("a password is shown: %q", prompts.String())
			}
		})
	}
}
