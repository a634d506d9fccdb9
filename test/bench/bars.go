package main

import (
	"errors"
	"fmt"
)

// bar is what a target must reach against a peer: at least Times less, at the median of the rounds.
type bar struct {
	test, target, peer string
	times              float64
}

// bars are those of the two engines. Figures are totals, with the work of client and origin in them: no proxy at all
// takes 2.3 to 5 times less than haproxy.
//
// The user path cannot win by much, like any proxy that terminates TCP in user space: nearly all of its cost is the kernel's
// socket layer, twice. Its memory bar is 0.75 of haproxy's. Its uploads and datagrams have none.
var bars = []bar{
	{testConnections, targetUser, targetHaproxy, 1.05},
	{testMessages1, targetUser, targetHaproxy, 1.05},
	{testMessages256, targetUser, targetHaproxy, 1.05},
	{testDown1, targetUser, targetHaproxy, 1.6},
	{testDown64, targetUser, targetHaproxy, 1.6},
	{testMemory, targetUser, targetHaproxy, 1 / 0.75},

	{testConnections, targetKernel, targetHaproxy, 1.6},
	{testConnections, targetKernel, targetNginx, 1.4},
	{testMessages1, targetKernel, targetHaproxy, 1.8},
	{testMessages1, targetKernel, targetNginx, 1.7},
	{testMessages256, targetKernel, targetHaproxy, 1.8},
	{testMessages256, targetKernel, targetNginx, 1.7},
	{testDown64, targetKernel, targetHaproxy, 3},
	{testDown64, targetKernel, targetNginx, 3},
	{testDown64, targetKernel, targetSplice, 2},
	{testUDP64, targetKernel, targetNginx, 1.6},

	{testDrops, targetShielded, targetRaw, 3},
	{testDrops, targetShielded, targetIPSet, 3},
	{testDrops, targetShielded, targetNetdev, 3},
	{testSYNs, targetShielded, targetTProxy, 8},
}

// barReport is the verdict on one bar. Measured 0: there is no figure, which does not meet it.
type barReport struct {
	Test     string  `json:"test"`
	Target   string  `json:"target"`
	Peer     string  `json:"peer"`
	AtLeast  float64 `json:"timesLessAtLeast"`
	Measured float64 `json:"timesLess"`
	Met      bool    `json:"met"`
}

func judge(all results) []barReport {
	var list []barReport
	for _, b := range bars {
		if all[b.test][b.target] == nil || all[b.test][b.peer] == nil {
			continue // left out of this run
		}
		got := timesLess(all, b.test, b.target, b.peer).Median
		list = append(list, barReport{b.test, b.target, b.peer, b.times, got, got >= b.times})
	}
	return list
}

// check is an error when a bar was missed, or when there was none to meet.
func (r *report) check() error {
	if len(r.Bars) == 0 {
		return errors.New("nothing that has a bar was measured")
	}
	missed := 0
	for _, b := range r.Bars {
		if !b.Met {
			missed++
		}
	}
	if missed > 0 {
		return fmt.Errorf("%d of %d bars missed", missed, len(r.Bars))
	}
	return nil
}

func (b barReport) String() string {
	verdict := "MISSED"
	if b.Met {
		verdict = "met"
	}
	if b.Measured == 0 {
		return fmt.Sprintf("%-8s %s: %s has no figure against %s, at least %.2fx less is due", verdict, b.Test, b.Target, b.Peer, b.AtLeast)
	}
	return fmt.Sprintf("%-8s %s: %s takes %.2fx less than %s, at least %.2fx is due", verdict, b.Test, b.Target, b.Measured, b.Peer, b.AtLeast)
}
