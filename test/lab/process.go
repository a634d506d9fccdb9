package lab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/vishvananda/netns"
)

// process is one breakwater subcommand in one namespace.
type process struct {
	name  string
	netns netns.NsHandle
	args  []string
}

// family is the lab's children. They end with the lab, however it ends: each gets SIGKILL when the thread that
// started it is gone, which is why that thread waits for it.
type family struct {
	ctx     context.Context //nolint:containedctx // the family's own life, not a caller's: it ends when a child gives up
	cancel  context.CancelCauseFunc
	config  Config
	wait    sync.WaitGroup
	settled atomic.Bool // the lab carries traffic: from now on a child that ends is started again
}

// Times of the children's lives.
const (
	restartAfter = 200 * time.Millisecond // as RestartSec= on a real box, only sooner
	killAfter    = 5 * time.Second        // between SIGTERM and SIGKILL
)

func newFamily(ctx context.Context, c Config) *family {
	f := &family{config: c}
	f.ctx, f.cancel = context.WithCancelCause(ctx)
	return f
}

// start runs p until the family stops. A child that ends before the lab carries traffic ends the lab; later it is
// started again, as systemd does on a real box, so that a test may kill it.
func (f *family) start(p process) {
	f.wait.Add(1)
	go f.keep(p)
}

func (f *family) keep(p process) {
	defer f.wait.Done()
	for f.ctx.Err() == nil {
		err := onOwnThread(func() error { return f.run(p) })
		if f.ctx.Err() != nil {
			return
		}
		if !f.settled.Load() {
			f.cancel(fmt.Errorf("%s ended: %w%s", p.name, cmpErr(err), lastLines(logFile(p.name))))
			return
		}
		time.Sleep(restartAfter)
	}
}

// run starts p and waits for its end. The thread it is called on belongs to it.
func (f *family) run(p process) error {
	if err := netns.Set(p.netns); err != nil {
		return err
	}
	log, err := f.openLog(p.name)
	if err != nil {
		return err
	}
	defer log.Close() //nolint:errcheck // a log
	cmd := exec.CommandContext(f.ctx, f.config.Executable, p.args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = killAfter
	// Ctrl-C reaches the whole process group of a terminal; a group of its own leaves the order of ending to us.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	err = cmd.Wait()
	runtime.KeepAlive(p)
	return err
}

// openLog opens the log of a child: a file that ends with the lab, or the lab's own with Verbose.
func (f *family) openLog(name string) (io.WriteCloser, error) {
	if f.config.Verbose {
		return nopCloser{f.config.Log}, nil
	}
	return os.OpenFile(logFile(name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

func logFile(name string) string { return filepath.Join(labDir, name+".log") }

// stop ends all children and waits for them.
func (f *family) stop() {
	f.cancel(context.Canceled)
	f.wait.Wait()
}

// explain says why the lab ends: the child that ended tells more than what was waiting for it.
func (f *family) explain(err error) error {
	if cause := context.Cause(f.ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// lastLines are the last lines of a log, to be appended to an error; empty when there is no log.
func lastLines(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	lines := strings.Split(string(bytes.TrimSpace(text)), "\n")
	return "\n  " + strings.Join(lines[max(0, len(lines)-8):], "\n  ")
}
