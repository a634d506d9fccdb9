package proxy

import (
	"testing"

	"breakwater/appliance/plan"
)

// TestFloodLeavesFilesForSessions: the limits that settings write when nothing is said are larger than any box; flows
// must not get the descriptors of sessions then, also not with those that answer from many edge ports.
func TestFloodLeavesFilesForSessions(t *testing.T) {
	for _, test := range []struct {
		name            string
		files           int64
		wish            plan.Limits
		sessions, flows int
	}{
		{"nothing said", 1000, plan.Limits{}, 250, 500},
		{"more than there is", 1000, plan.Limits{MaxSessions: 1 << 20, MaxFlows: 1 << 20}, 250, 500},
		{"few sessions leave room for flows", 1000, plan.Limits{MaxSessions: 100, MaxFlows: 1 << 20}, 100, 800},
		{"few flows leave room for sessions", 1000, plan.Limits{MaxSessions: 1 << 20, MaxFlows: 100}, 400, 100},
		{"enough for both", 1 << 20, plan.Limits{MaxSessions: 1000, MaxFlows: 5000}, 1000, 5000},
	} {
		t.Run(test.name, func(t *testing.T) {
			e := Engine{files: test.files}
			if got := e.lower(test.wish); got.MaxSessions != test.sessions || got.MaxFlows != test.flows {
				t.Errorf("%d sessions and %d flows, want %d and %d", got.MaxSessions, got.MaxFlows, test.sessions, test.flows)
			}
		})
	}
}

// TestAnswersCountTheirFiles: each edge port that flows are answered from takes a descriptor of its own, which a flood
// over many ports must not take away from sessions.
func TestAnswersCountTheirFiles(t *testing.T) {
	e := Engine{files: 40}
	limits := e.lower(plan.Limits{MaxSessions: 1 << 20, MaxFlows: 1 << 20})
	e.openFlows.Store(10)
	e.openReplies.Store(9)
	if e.flowsFull(limits) {
		t.Error("full with 19 of 20 descriptors")
	}
	if e.openReplies.Add(1); !e.flowsFull(limits) || e.sessionsFull(limits.MaxSessions) {
		t.Error("full for flows, and for flows alone, with 20 descriptors of 20")
	}

	b := start(t, serveUDP(t, echoDatagram), nil)
	c := dialUDP(t, b.edge4)
	mustAnswer(t, c, []byte("x"), []byte("x"))
	if got := b.files - b.filesLeft(); got != 2 {
		t.Errorf("a flow and its answers have %d descriptors", got)
	}
	if b.Kill(b.all()[0].ID); b.filesLeft() != b.files {
		t.Errorf("%d descriptors are counted behind the last flow", b.files-b.filesLeft())
	}
}

// TestPipesLeaveFilesForSessions: clients that stall while much is sent to them each hold a pipe in either direction.
func TestPipesLeaveFilesForSessions(t *testing.T) {
	b := open(t, 1, nil)
	defer b.close()
	b.files = 64
	w := b.workers[0]
	var pipes []*pipe
	for p := w.takePipe(); p != nil && len(pipes) < 64; p = w.takePipe() {
		p.held = 1 // so that it is not kept
		pipes = append(pipes, p)
	}
	if got, want := len(pipes), 4; got != want {
		t.Errorf("%d pipes, want %d: an eighth of the descriptors", got, want)
	}
	if got := b.filesLeft(); got != 64-8 {
		t.Errorf("%d descriptors left of 64", got)
	}
	for _, p := range pipes {
		w.givePipe(p)
	}
	if got := b.filesLeft(); got != 64 {
		t.Errorf("%d descriptors left behind the last pipe, want all 64", got)
	}
}
