package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"breakwater/test/attack/flood"
)

// A flood is measured in another way: there is no client and no origin, and no box is asked for anything. What is counted is
// the CPU time of the thread that receives for a veth (threaded NAPI, Documentation/networking/napi.rst) by the packets that it
// took, on the measured core; the attacker is on the other one. So what is before the box costs nothing.

// floods measures everything, interleaved.
func (b *besieged) floods(ctx context.Context, list []floodTest, rounds int, window time.Duration, progress func(string)) (results, error) {
	all := results{}
	for round := range rounds {
		for _, test := range list {
			progress(fmt.Sprintf("round %d of %d: %s", round+1, rounds, test.name))
			for _, s := range test.stoppers {
				cell, err := b.meet(ctx, test, s, window)
				if err != nil {
					return nil, fmt.Errorf("%s by %s: %w", test.name, s.name, err)
				}
				cell.Round = round
				all.add(test.name, s.name, cell)
			}
		}
	}
	return all, nil
}

// arming is how long defences take that rest in peace time.
const arming = 1500 * time.Millisecond

// meet is one cell.
func (b *besieged) meet(ctx context.Context, test floodTest, s stopper, window time.Duration) (cell sample, err error) {
	ns, name, by, to := plainNS, plainName, "plain", plainAddress
	if s.guarded {
		ns, name, by, to = guardedNS, wanName, "guarded", guardedAddress
	}
	if err := s.commands(ctx, ns, s.up); err != nil {
		return cell, err
	}
	defer func() { err = errors.Join(err, s.commands(ctx, ns, s.down)) }()
	if s.listed > 0 {
		undo, err := list(ctx, guardedEngine, s.listed)
		if err != nil {
			return cell, err
		}
		defer func() { err = errors.Join(err, undo()) }()
	}
	if s.floor != nil {
		var undo func() error
		err := inNamespace(ns, func() (err error) {
			undo, err = s.floor.Run(name)
			return err
		})
		if err != nil {
			return cell, err
		}
		defer func() { err = errors.Join(err, inNamespace(ns, undo)) }()
	}
	var f *flood.Flood
	err = inNamespace(attackerNS, func() (err error) {
		f, err = flood.Start(flood.Options{Interface: by, For: window + time.Minute}, test.shape(to))
		return err
	})
	if err != nil {
		return cell, err
	}
	time.Sleep(arming)
	before, err := b.look(ns, name, s.guarded)
	if err != nil {
		return cell, errors.Join(err, end(f))
	}
	time.Sleep(window)
	after, err := b.look(ns, name, s.guarded)
	if err := errors.Join(err, end(f)); err != nil {
		return cell, err
	}
	return test.judge(s, before, after, window), nil
}

// judge makes a cell of what a box has done in a window. It has an error where the flood was not met as it is to be.
func (test *floodTest) judge(s stopper, before, after sight, window time.Duration) (cell sample) {
	cell.Units, cell.Took, cell.SoftIRQ = after.packets-before.packets, after.at.Sub(before.at), after.cpu-before.cpu
	past, back := after.past-before.past, after.back-before.back
	switch {
	case cell.Units < 1000:
		cell.Error = fmt.Sprintf("%d packets came", cell.Units)
	case test.answered && back < min(cell.Units*9/10, enoughAnswers*int64(window)/int64(time.Second)):
		cell.Error = fmt.Sprintf("%d of %d packets were answered", back, cell.Units)
	case !test.answered && s.lets != (past > cell.Units/100):
		cell.Error = fmt.Sprintf("%d of %d packets got past it", past, cell.Units)
	default:
		cell.Cost = float64(cell.SoftIRQ) / float64(cell.Units)
	}
	return cell
}

func end(f *flood.Flood) error {
	err := f.Stop()
	_, waited := f.Wait()
	return errors.Join(err, waited)
}

// sight is what a box has done until a moment.
type sight struct {
	at                 time.Time
	cpu, packets, past int64 // ns of the thread; received; seen by UDP
	back               int64 // packets to attackers
}

func (b *besieged) look(ns, name string, guarded bool) (s sight, err error) {
	s.at = time.Now()
	if s.cpu, err = taskRunTime(b.thread[guarded]); err != nil {
		return s, err
	}
	back, _, err := b.meters[guarded].Back()
	if err != nil {
		return s, fmt.Errorf("read the meter: %w", err)
	}
	s.back = int64(back) //nolint:gosec // as packets
	err = inNamespace(ns, func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find %s: %w", name, err)
		}
		s.packets = int64(l.Attrs().Statistics.RxPackets) //nolint:gosec // it would take ages
		s.past, err = deliveredDatagrams()
		return err
	})
	return s, err
}

// deliveredDatagrams is how many datagrams UDP was given, for a socket or none (proc_net_snmp of proc_pid_net(5)).
func deliveredDatagrams() (int64, error) {
	text, err := os.ReadFile("/proc/thread-self/net/snmp")
	if err != nil {
		return 0, fmt.Errorf("read the counters of UDP: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		var in, noPorts int64
		if n, _ := fmt.Sscanf(line, "Udp: %d %d", &in, &noPorts); n == 2 {
			return in + noPorts, nil
		}
	}
	return 0, errors.New("read the counters of UDP: there are none")
}
