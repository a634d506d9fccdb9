package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
)

// menuIdle is after how long nobody is taken to be at the terminal any more.
const menuIdle = 2 * time.Minute

// tries are the answers to a question that may be wrong.
const tries = 10

// drainWait is longer than the terminal takes to hand over the next of the lines that it holds.
const drainWait = 50 * time.Millisecond

// errBack ends a dialogue with nothing done: an empty line, Ctrl-C, nobody there, or the end of this process.
var errBack = errors.New("back to the screen")

// dialogue is somebody at a terminal, which may be a serial line that shows nothing but lines.
type dialogue struct {
	lines <-chan string
	out   io.Writer
	idle  time.Duration // how long an answer may take
}

// say writes a line. What comes from elsewhere is cleaned of what a terminal would obey.
func (d *dialogue) say(format string, values ...any) {
	for i, v := range values {
		if _, number := v.(int); !number {
			values[i] = cleanLines(fmt.Sprint(v))
		}
	}
	fmt.Fprintf(d.out, format+"\n", values...)
}

// cleanLines keeps the ends of lines, which list the problems of a document.
func cleanLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = clean(lines[i])
	}
	return strings.Join(lines, "\n  ")
}

// ask returns what is typed, which is never empty.
func (d *dialogue) ask(ctx context.Context, question string) (string, error) {
	fmt.Fprintf(d.out, "%s: ", question)
	timer := time.NewTimer(d.idle)
	defer timer.Stop()
	select {
	case line, open := <-d.lines:
		if !open || line == "" || line == string(interrupt) {
			return "", errBack
		}
		return line, nil
	case <-timer.C:
	case <-ctx.Done():
	}
	return "", errBack
}

// read asks until parse takes the answer, and goes back where none is to be had: a serial line can be connected to
// something that sends back what it gets.
func (d *dialogue) read(ctx context.Context, question string, parse func(string) error) error {
	for range tries {
		line, err := d.ask(ctx, question)
		if err != nil {
			return err
		}
		if err = parse(line); err == nil || errors.Is(err, errBack) {
			return err
		}
		d.say("Not taken: %s", err)
	}
	return errBack
}

// drain forgets what was typed while something was done: who pressed Enter out of impatience would not see how it ended.
func (d *dialogue) drain() {
	for {
		select {
		case _, open := <-d.lines:
			if !open {
				return
			}
		case <-time.After(drainWait):
			return
		}
	}
}

// sure wants the word typed before something is done.
func (d *dialogue) sure(ctx context.Context, word, what string) error {
	line, err := d.ask(ctx, "Type "+word+" to "+what)
	if err == nil && line != word {
		d.say("That was not %s.", word)
		err = errBack
	}
	return err
}

// pick asks for one of a list, by its number or name, and returns its place.
func (d *dialogue) pick(ctx context.Context, question string, names []string) (place int, err error) {
	err = d.read(ctx, question, func(line string) error {
		place, err = placeOf(line, names)
		return err
	})
	return place, err
}

// placeOf reads a number from 1, or a name.
func placeOf(typed string, names []string) (int, error) {
	if i := slices.Index(names, typed); i >= 0 {
		return i, nil
	}
	n, err := strconv.Atoi(typed)
	if err != nil || n < 1 || n > len(names) {
		return 0, fmt.Errorf("there is no %q; type a number from 1 to %d", typed, len(names))
	}
	return n - 1, nil
}
