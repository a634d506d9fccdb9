package main

import (
	"context"
	"errors"
	"fmt"
)

// menu is what somebody at the machine can do when nobody reaches the page: mend what cut them off, or stop the machine.
type menu struct {
	dialogue
	box   *client
	start func(ctx context.Context, unit string) (told string, err error) // of a unit, host.Host's Run
	seen  screen
}

// choice is an entry of the menu.
type choice struct {
	name    string
	control bool // it is done by control
	do      func(*menu, context.Context) error
}

var choices = []choice{
	{"Set an address", true, (*menu).setAddress},
	{"Choose where the page is reached", true, (*menu).setManagement},
	{"Reset a password", true, (*menu).resetPassword},
	{"Roll back settings", true, (*menu).rollBack},
	{"Start the other version", false, (*menu).startOther},
	{"Diagnostics to a USB stick", false, (*menu).saveDiagnostics},
	{"Restart", false, (*menu).restart},
	{"Power off", false, (*menu).powerOff},
	{"Factory reset", false, (*menu).factoryReset},
}

// open shows the menu and does one of its entries.
func (m *menu) open(ctx context.Context) {
	fmt.Fprint(m.out, clearScreen)
	m.say("Breakwater\n")
	for i, c := range choices {
		if !c.control || m.seen.trouble == nil {
			m.say(" %d  %s", i+1, c.name)
		}
	}
	m.say(" 0  Back\n")
	if m.seen.trouble != nil {
		m.say("Settings and accounts cannot be changed here now: %s\n", m.seen.trouble)
	}
	m.say("An empty line or Ctrl-C goes back at any time, with nothing done.\n")
	var chosen choice
	err := m.read(ctx, "Number", func(line string) (err error) {
		chosen, err = m.chosen(line)
		return err
	})
	if err != nil {
		return
	}
	m.say("")
	switch err := chosen.do(m, ctx); {
	case errors.Is(err, errBack):
		m.say("\nNothing was done.")
	case err != nil:
		m.say("\nNot done: %s", err)
	}
	m.drain()
	_, _ = m.ask(ctx, "\nEnter goes back to the screen") // whatever it is
}

func (m *menu) chosen(line string) (choice, error) {
	if line == "0" || line == "back" {
		return choice{}, errBack
	}
	names := make([]string, len(choices))
	for i, c := range choices {
		names[i] = c.name
	}
	i, err := placeOf(line, names)
	if err != nil {
		return choice{}, err
	}
	if choices[i].control && m.seen.trouble != nil {
		return choice{}, fmt.Errorf("%q needs control, which does not answer", choices[i].name)
	}
	return choices[i], nil
}
