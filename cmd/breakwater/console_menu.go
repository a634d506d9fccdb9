package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	stick   bool // it is for a box that runs from a stick
	do      func(*menu, context.Context) error
}

var choices = []choice{
	{name: "Set an address", control: true, do: (*menu).setAddress},
	{name: "Choose where the page is reached", control: true, do: (*menu).setManagement},
	{name: "Reset a password", control: true, do: (*menu).resetPassword},
	{name: "Roll back settings", control: true, do: (*menu).rollBack},
	{name: "Start the other version", do: (*menu).startOther},
	{name: "Diagnostics to a USB stick", do: (*menu).saveDiagnostics},
	{name: "Restart", do: (*menu).restart},
	{name: "Power off", do: (*menu).powerOff},
	{name: "Factory reset", do: (*menu).factoryReset},
	{name: "Install on an internal disk", stick: true, do: (*menu).install},
}

// open shows the menu and does one of its entries.
func (m *menu) open(ctx context.Context) {
	fmt.Fprint(m.out, clearScreen)
	m.say("Breakwater\n")
	for i, c := range m.offered() {
		if !c.control || m.seen.trouble == nil {
			m.say("%2d  %s", i+1, c.name)
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

// offered are the entries that this box has.
func (m *menu) offered() []choice {
	return slices.DeleteFunc(slices.Clone(choices), func(c choice) bool { return c.stick && m.seen.stick == "" })
}

func (m *menu) chosen(line string) (choice, error) {
	if line == "0" || line == "back" {
		return choice{}, errBack
	}
	choices := m.offered()
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
