package proxy

import (
	"fmt"
	"net/netip"
	"testing"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// TestTheShieldIsTold: of clients that both spoke with, and of every flow from its begin to its end.
func TestTheShieldIsTold(t *testing.T) {
	b := open(t, serveTCP(t, echo), nil)
	good := make(chan string, 16)
	b.Good = func(client netip.Addr, protocol plan.Protocol) { good <- fmt.Sprint(client, " ", protocol) }
	b.run(t)
	for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
		c := dial(t, edge)
		mustWrite(t, c, []byte("x"))
		mustRead(t, c, "x")
		if got, want := <-good, fmt.Sprint(edge.Addr(), " tcp"); got != want {
			t.Errorf("good is %s, want %s", got, want)
		}
	}
}

func TestTheShieldIsToldOfFlows(t *testing.T) {
	b := open(t, serveUDP(t, echoDatagram), nil)
	told := make(chan string, 16)
	b.ShareFlow = func(client, edge netip.AddrPort, state status.FlowState) {
		told <- fmt.Sprint(client, " ", edge, " ", state)
	}
	b.run(t)
	for _, edge := range []netip.AddrPort{b.edge4, b.edge6} {
		c := dialUDP(t, edge)
		for range 3 {
			mustAnswer(t, c, []byte("x"), []byte("x"))
		}
		if !b.Kill(b.all()[0].ID) {
			t.Fatal("there is no flow")
		}
		for _, state := range []status.FlowState{status.FlowBegun, status.FlowProven, status.FlowOver} {
			if got, want := <-told, fmt.Sprint(c.LocalAddr(), " ", edge, " ", state); got != want {
				t.Errorf("told %s, want %s", got, want)
			}
		}
	}
}
