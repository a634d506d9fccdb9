// Breakwater is the one program of the box: both of its long-running processes and the command line to them.
//
//	breakwater control --listen 127.0.0.1:8443
//	breakwater apply settings.json --reason "new pool" --confirm 60s
//	breakwater confirm
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"breakwater/appliance/store"
)

// env is what a command gets from the process that runs it.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
}

// commands is the command line. Each command is a type with a Run(ctx, *env) error, in the file of its name.
type commands struct {
	Edge    edgeCmd    `cmd:"" help:"Run the edge process: the data plane."`
	Control controlCmd `cmd:"" help:"Run the control process: settings, API and command line socket."`
	Console consoleCmd `cmd:"" help:"Show on this terminal what somebody at the machine needs: addresses, certificate, setup code."`

	Apply    applyCmd    `cmd:"" help:"Apply a settings document."`
	Confirm  confirmCmd  `cmd:"" help:"Keep the change that waits for its confirmation."`
	Revert   revertCmd   `cmd:"" help:"Take back the change that waits for its confirmation."`
	Export   exportCmd   `cmd:"" help:"Print the settings document, of now or of a revision."`
	Validate validateCmd `cmd:"" help:"Print every problem of a settings document. Needs no running box."`

	Revisions revisionsCmd `cmd:"" help:"List the revisions of the settings."`
	Diff      diffCmd      `cmd:"" help:"Show what a revision changed."`
	Rollback  rollbackCmd  `cmd:"" help:"Apply the settings of an older revision again."`

	Status    statusCmd    `cmd:"" help:"Show whether everything works, and what is wrong."`
	Sessions  sessionsCmd  `cmd:"" help:"List the sessions and flows."`
	Kill      killCmd      `cmd:"" help:"End a session or flow."`
	Ban       banCmd       `cmd:"" help:"Turn the clients of an address or network away, and end what they have open."`
	Unban     unbanCmd     `cmd:"" help:"Let the clients of a banned address or network in again."`
	Bans      bansCmd      `cmd:"" help:"List the bans."`
	Incidents incidentsCmd `cmd:"" help:"List the attacks that were and are."`
	Events    eventsCmd    `cmd:"" help:"Print the begin and end of every session and flow as they happen."`

	Token        tokenCmd        `cmd:"" help:"Manage the tokens of the API."`
	Accounts     accountsCmd     `cmd:"" help:"Manage the accounts of the web page."`
	SetupCode    setupCodeCmd    `cmd:"" help:"Print the one-time code that claims the box on its web page."`
	HashPassword hashPasswordCmd `cmd:"" help:"Print the hash of a password, for the accounts of a seed file."`
	Version      versionCmd      `cmd:"" help:"Print the version."`
	Update       updateCmd       `cmd:"" help:"Bring the appliance to another version: into its other slot, for the next restart."`

	Lab       labCmd       `cmd:"" help:"Run a whole network on this machine: a client, the box and an origin. Needs root."`
	LabOrigin labOriginCmd `cmd:"" hidden:"" help:"Answer on every port with what arrived; the lab runs this."`

	CheckStore checkStoreCmd `cmd:"" hidden:"" help:"Check the file of the store; control runs this."`
	Healthy    healthyCmd    `cmd:"" hidden:"" help:"Tell whether this box works, for the trial of a new version."`
	Machine    machineCmd    `cmd:"" hidden:"" help:"Change the machine; units of systemd run these."`
}

// errUsage is a command line that cannot be understood.
var errUsage = errors.New("usage")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, &env{os.Stdin, os.Stdout, os.Stderr}, os.Args[1:])
	stop()
	os.Exit(exitCode(os.Stderr, err))
}

// exitCode tells the error, if there is one: 1 for a command that did not succeed, 2 for one that was not understood,
// 3 for a damaged store.
func exitCode(w io.Writer, err error) int {
	if err == nil {
		return 0
	}
	if damage, ok := errors.AsType[*store.Damage](err); ok {
		fmt.Fprintln(w, damage)
		return store.DamageExit
	}
	fmt.Fprintln(w, "breakwater:", err)
	if errors.Is(err, errUsage) {
		return 2
	}
	return 1
}

// run runs one command line.
func run(ctx context.Context, e *env, args []string) error {
	helped := false
	parser, err := kong.New(&commands{},
		kong.Name("breakwater"),
		kong.Description("Puts every TCP and UDP port of your edge addresses in front of your origins."),
		kong.Writers(e.stdout, e.stderr),
		kong.Exit(func(int) { helped = true }),
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(e),
	)
	if err != nil {
		return err
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := parser.Parse(args)
	if helped {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w (breakwater --help shows the commands)", errUsage, err)
	}
	return command.Run()
}
