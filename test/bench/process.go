package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is a program that runs in a namespace on the measured core.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	stdout *bufio.Reader
	log    *headBuffer
	ended  chan struct{}
}

// startIn starts a program in ns, bound to core from its first instruction, so that a program that counts its
// cores counts one. What it prints is kept for the error message.
func startIn(ns string, core int, name string, args ...string) (*process, error) {
	p := newProcess(name, args...)
	p.cmd.Stdout = p.log
	if err := p.start(ns, core); err != nil {
		return nil, err
	}
	return p, nil
}

// startEnd starts this program again as one end of the path: load or origin. It takes orders by ask.
func startEnd(ns string, core int, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find this program: %w", err)
	}
	p := newProcess(self, args...)
	// Preemption signals would interrupt the one goroutine that works.
	p.cmd.Env = append(os.Environ(), "GOMAXPROCS=2", "GODEBUG=asyncpreemptoff=1")
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe to %s: %w", args[0], err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("pipe from %s: %w", args[0], err)
	}
	p.name, p.stdin, p.stdout = args[0], stdin, bufio.NewReader(stdout)
	if err := p.start(ns, core); err != nil {
		return nil, err
	}
	return p, nil
}

func newProcess(name string, args ...string) *process {
	p := &process{name: name, cmd: exec.Command(name, args...), log: &headBuffer{}, ended: make(chan struct{})}
	p.cmd.Stderr = p.log
	// A group of its own: Ctrl-C is for the bench, which then ends its processes in order.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return p
}

func (p *process) start(ns string, core int) error {
	err := inNamespace(ns, func() error {
		if err := bindThread(0, core); err != nil {
			return err
		}
		return p.cmd.Start()
	})
	if err != nil {
		return fmt.Errorf("start %s in %s: %w", p.name, ns, err)
	}
	go p.reap()
	return nil
}

func (p *process) reap() {
	_ = p.cmd.Wait() // how it ended does not matter: stop asked for it, or the next order fails
	close(p.ended)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ask sends a line of JSON and reads the answer.
func (p *process) ask(question, answer any, limit time.Duration) error {
	line, err := json.Marshal(question)
	if err != nil {
		return fmt.Errorf("encode for %s: %w", p.name, err)
	}
	timer := time.AfterFunc(limit, p.kill)
	defer timer.Stop()
	if _, err := p.stdin.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write to %s: %w%s", p.name, err, p.log.suffix())
	}
	reply, err := p.stdout.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read from %s: %w%s", p.name, err, p.log.suffix())
	}
	if err := json.Unmarshal(reply, answer); err != nil {
		return fmt.Errorf("decode from %s: %w", p.name, err)
	}
	return nil
}

func (p *process) hasEnded() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

func (p *process) kill() { _ = p.cmd.Process.Kill() }

// stop ends the process: politely, then after two seconds by force.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(unix.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("stop %s: %w", p.name, err)
	}
	select {
	case <-p.ended:
		return nil
	case <-time.After(2 * time.Second):
		p.kill()
		<-p.ended
		return nil
	}
}

// headBuffer keeps the first 2 KiB that a program wrote to its standard error.
type headBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (t *headBuffer) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 2048 - t.buf.Len(); room > 0 {
		t.buf.Write(b[:min(len(b), room)])
	}
	return len(b), nil
}

func (t *headBuffer) suffix() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.buf.Len() == 0 {
		return ""
	}
	return ": " + strings.TrimSpace(t.buf.String())
}
