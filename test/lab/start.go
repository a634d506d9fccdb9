package lab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

// Options say what lab a test wants. The zero value is the default document with the lab's own origin.
type Options struct {
	Settings string    // file with the document
	NoOrigin bool      // leave bw-origin empty
	Empty    bool      // apply no settings
	Log      io.Writer // what the processes log; nil: the file that BREAKWATER_E2E_LOG names, else os.Stderr
}

// Lab is a lab that runs as a process of its own, from the binary that `make build` made.
type Lab struct {
	Ready
	cmd *exec.Cmd
}

// startTime is how long a lab may take until it carries traffic.
const startTime = 60 * time.Second

// Start runs a lab and returns when it carries traffic. It needs root. The lab ends with Close, or with ctx.
func Start(ctx context.Context, o Options) (*Lab, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	l := &Lab{cmd: exec.CommandContext(ctx, binary, o.args()...)}
	l.cmd.Stderr = o.Log
	if o.Log == nil {
		l.cmd.Stderr = os.Stderr
		if name := os.Getenv(logVariable); name != "" {
			log, err := os.Create(name)
			if err != nil {
				return nil, fmt.Errorf("open what the lab logs to: %w", err)
			}
			defer log.Close() // the lab has it for itself
			l.cmd.Stderr = log
		}
	}
	l.cmd.Cancel = func() error { return l.cmd.Process.Signal(syscall.SIGTERM) }
	l.cmd.WaitDelay = 2 * killAfter
	out, err := l.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := l.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the lab: %w", err)
	}
	overdue := time.AfterFunc(startTime, func() { _ = l.cmd.Process.Signal(syscall.SIGTERM) })
	defer overdue.Stop()
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &l.Ready)
	}
	if err != nil {
		return nil, fmt.Errorf("the lab did not get ready: %w", errors.Join(err, l.Close()))
	}
	return l, nil
}

func (o Options) args() []string {
	args := []string{"lab", "--headless", "--json", "--verbose"}
	if o.Settings != "" {
		args = append(args, "--settings", o.Settings)
	}
	if o.Empty {
		args = append(args, "--empty")
	}
	if o.NoOrigin {
		args = append(args, "--origin", "none")
	}
	return args
}

// Close ends the lab and waits until everything it made is gone.
func (l *Lab) Close() error {
	if err := l.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return l.cmd.Wait()
}

// Binary finds build/breakwater, upwards from the working directory, which for a test is its package.
func Binary() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; dir != "/"; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			binary := filepath.Join(dir, "build", "breakwater")
			if _, err := os.Stat(binary); err != nil {
				return "", fmt.Errorf("find the binary to test (make build makes it): %w", err)
			}
			return binary, nil
		}
	}
	return "", errors.New("find the binary to test: not inside the module")
}

// logVariable names the file that a lab logs to whose test says nothing of it.
const logVariable = "BREAKWATER_E2E_LOG"

// readyVariable hands the lab to a test binary that runs inside of it.
const readyVariable = "BREAKWATER_LAB"

// Main is the TestMain of tests that are clients: it starts a lab and runs the test binary again in bw-client, where
// every goroutine of every test is a client. A closure that enters the namespace would not carry to goroutines.
//
//	func TestMain(m *testing.M) { os.Exit(lab.Main(m, lab.Options{})) }
func Main(m interface{ Run() int }, o Options) int {
	if _, inside := os.LookupEnv(readyVariable); inside {
		return m.Run()
	}
	code, err := runInside(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

func runInside(o Options) (code int, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := Start(ctx, o)
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	ready, err := json.Marshal(l.Ready)
	if err != nil {
		return 1, err
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	cmd := exec.CommandContext(ctx, self, os.Args[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), readyVariable+"="+string(ready))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = Inside(Client, cmd.Run)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}
