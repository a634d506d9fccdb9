package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/host"
	"breakwater/appliance/plan"
	"breakwater/appliance/settings"
)

// networkWait is how long the machine may take for its network: host's unit waits for interfaces itself.
const networkWait = time.Minute

// Machine is the network of the machine, where control has it.
type Machine struct {
	// Apply brings it to what settings say.
	Apply func(ctx context.Context, s settings.Settings) error
	// Ports are those that it has.
	Ports func() []host.Port
}

// network is what control knows of it. It is read and written while changing is held.
type network struct {
	machine *Machine           // nil: somebody else's
	now     *settings.Settings // as it is; nil: not known
	// of is the plan that goes with what was compared last. A plan is made for each document.
	of     *plan.Plan
	known  bool // of and now belong together
	wait   time.Duration
	notYet time.Time
}

// changeNetwork applies the network of settings that are proposed, if it is another than that of those in force. Ports that
// the machine does not have are refused before anything is changed: settings of another machine, or with a slip, would
// cut it off.
func (c *Control) changeNetwork(ctx context.Context, s settings.Settings) error {
	n := &c.network
	if n.machine == nil {
		return nil
	}
	current, err := c.settingsInForce()
	if err == nil && host.SameNetwork(current, s) {
		return nil // where the machine is not on it, Run goes on trying
	}
	if err := refuseMissing(current, s, n.machine.Ports()); err != nil {
		return err
	}
	return c.applyNetwork(ctx, s)
}

// refuseMissing lets pass what is missing already: a card that broke must not be in the way of other changes.
func refuseMissing(current, s settings.Settings, ports []host.Port) error {
	known := host.Missing(current, ports)
	missing := slices.DeleteFunc(host.Missing(s, ports), func(name string) bool { return slices.Contains(known, name) })
	if len(missing) == 0 {
		return nil
	}
	have := make([]string, len(ports))
	for i, p := range ports {
		have[i] = fmt.Sprintf("%s (%s)", p.Name, p.MAC)
	}
	return fmt.Errorf("the machine has no port %s; it has %s", strings.Join(missing, ", "), strings.Join(have, ", "))
}

// applyNetwork leaves it unknown what the network is when it fails.
func (c *Control) applyNetwork(ctx context.Context, s settings.Settings) error {
	ctx, cancel := context.WithTimeout(ctx, networkWait)
	defer cancel()
	n := &c.network
	n.now, n.known = nil, false
	if err := n.machine.Apply(ctx, s); err != nil {
		return fmt.Errorf("the network of the machine: %w", err)
	}
	n.now = &s
	c.log.Info("the network of the machine is as the settings say")
	return nil
}

// restoreNetwork brings the network back to the settings in force, after others were tried. What does not come back is
// a condition, and Run goes on trying.
func (c *Control) restoreNetwork(ctx context.Context) {
	c.network.known, c.network.notYet = false, time.Time{}
	c.keepNetwork(ctx)
}

// keepNetwork compares the network with what it should be, and applies that: at the start of control, and again with
// growing pauses while it does not help. The caller holds changing.
func (c *Control) keepNetwork(ctx context.Context) {
	n := &c.network
	wanted, _ := c.wish()
	if n.known && n.of == wanted {
		return
	}
	s, err := c.settingsInForce()
	if err != nil { // which is told elsewhere, and the network stays
		n.of, n.known = wanted, errors.Is(err, errUnusable)
		return
	}
	if n.machine == nil {
		c.tellElsewhere(s)
		n.of, n.known = wanted, true
		return
	}
	if n.now == nil || !host.SameNetwork(*n.now, s) {
		if time.Now().Before(n.notYet) {
			return
		}
		if err := c.applyNetwork(ctx, s); err != nil {
			n.wait = min(max(2*n.wait, time.Second), maxBackoff)
			n.notYet = time.Now().Add(n.wait)
			c.raiseNetwork(err)
			return
		}
	}
	c.conditions.Clear("network-refused", "")
	c.tellMissing(s)
	n.of, n.known, n.wait = wanted, true, 0
}

// errUnusable is a document that cannot be read, for which there is a condition.
var errUnusable = errors.New("the settings in force cannot be used")

// settingsInForce are those of the candidate while it waits, else those of the current revision; without any, none.
func (c *Control) settingsInForce() (settings.Settings, error) {
	c.mu.Lock()
	document, err := c.documentInForce()
	c.mu.Unlock()
	if err != nil || document == nil {
		return settings.Settings{}, err
	}
	s, problems := settings.Read(document)
	if len(problems) > 0 {
		return settings.Settings{}, errUnusable
	}
	return s, nil
}

func (c *Control) raiseNetwork(err error) {
	c.conditions.Raise(health.Condition{Code: "network-refused", Severity: health.Critical,
		Title:  "The machine is not on the network of the settings",
		Detail: sentence(err) + ". It is tried again every 30 seconds. Change the settings or what they need."})
}

// tellMissing tells of ports that were there when the settings were made.
func (c *Control) tellMissing(s settings.Settings) {
	const code = "port-missing"
	missing := host.Missing(s, c.network.machine.Ports())
	if len(missing) == 0 {
		c.conditions.Clear(code, "")
		return
	}
	c.conditions.Raise(health.Condition{Code: code, Severity: health.Warning, Title: "A network port is missing",
		Detail: fmt.Sprintf("The settings are for %s, which the machine does not have. Put the card back, or change the settings.", strings.Join(missing, ", "))})
}

// tellElsewhere tells whoever wrote settings of a machine that is not ours.
func (c *Control) tellElsewhere(s settings.Settings) {
	const code = "network-elsewhere"
	if len(settings.Diff(settings.Settings{Host: s.Host}, settings.Settings{})) == 0 && len(s.Management.Interfaces) == 0 {
		c.conditions.Clear(code, "")
		return
	}
	c.conditions.Raise(health.Condition{Code: code, Severity: health.Info, Title: "The settings of the machine are not used here",
		Detail: "They are for the appliance. Here somebody else manages name, network and time; everything else of the settings is in force."})
}
