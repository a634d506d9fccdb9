package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"breakwater/appliance/host"
	"breakwater/web/api"
)

// unitWait is longer than the units of the machine may take.
const unitWait = 6 * time.Minute

// The consequences are those that the page says, System > Power.

func (m *menu) startOther(ctx context.Context) error {
	m.say("The machine restarts with the version in the other slot. Every session ends.")
	m.say("If three starts of it are not found healthy, this version comes back by itself.")
	return m.end(ctx, "yes", "restart with the other version", "/api/v1/host/other-slot", host.OtherSlot, nil)
}

func (m *menu) restart(ctx context.Context) error {
	m.say("Every session ends, and players can connect again after about a minute.")
	return m.end(ctx, "yes", "restart", "/api/v1/host/restart", host.Restart, nil)
}

func (m *menu) powerOff(ctx context.Context) error {
	m.say("Every session ends, and nobody can connect until somebody turns the machine on again.")
	return m.end(ctx, "yes", "power off", "/api/v1/host/power-off", host.PowerOff, nil)
}

func (m *menu) factoryReset(ctx context.Context) error {
	m.say("The machine restarts with nothing: settings, accounts, tokens, bans, certificates with their keys and logs")
	m.say("are gone. This screen shows a new setup code then. It cannot be taken back.")
	body, err := json.Marshal(map[string]string{"confirm": api.ResetWord})
	if err != nil {
		return err
	}
	return m.end(ctx, api.ResetWord, "make this box forget everything", "/api/v1/host/factory-reset", host.FactoryReset, body)
}

// end asks for the word and ends the system. Control is asked, which writes to the audit log who did it; where it does
// not answer, systemd is.
func (m *menu) end(ctx context.Context, word, what, path, unit string, body []byte) error {
	if err := m.sure(ctx, word, what); err != nil {
		return err
	}
	err := m.seen.trouble
	if err == nil {
		err = m.box.call(ctx, http.MethodPost, path, nil, body, nil)
	}
	if m.seen.trouble != nil || errors.Is(err, errNoAnswer) {
		err = m.run(ctx, unit)
	}
	if err == nil {
		m.say("\nIt begins. This screen goes away with the system.")
	}
	return err
}

func (m *menu) run(ctx context.Context, unit string) error {
	ctx, cancel := context.WithTimeout(ctx, unitWait)
	defer cancel()
	_, err := m.start(ctx, unit)
	return err
}

func (m *menu) saveDiagnostics(ctx context.Context) error {
	m.say("What is wanted, what is observed and what happened lately is written to a USB stick with a FAT, exFAT or ext4")
	m.say("file system, as one new file. No passwords or keys are in it. Addresses are.")
	if err := m.sure(ctx, "yes", "write it, with the stick put in"); err != nil {
		return err
	}
	m.say("\nWriting…")
	ctx, cancel := context.WithTimeout(ctx, unitWait)
	defer cancel()
	file, err := m.start(ctx, host.Diagnostics)
	if err != nil {
		return err
	}
	m.say("Written: %s. The stick can be taken out.", file)
	return nil
}
