//go:build e2e

package browser

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/test/lab"
	"breakwater/web/webtest"
)

// incidentPage is that of the first incident.
const incidentPage = "/incidents/1"

// attackSet is a box with packet rules, that somebody attacks.
const attackSet = `{ "schema": 1,
  "edge": { "interfaces": ["wan0", "wan1"], "addresses": ["203.0.113.10/32", "2001:db8::10/128"] },
  "shield": { "bogons": true, "allow": [ { "prefix": "198.51.100.7/32", "note": "our office" } ], "networks": { "deny": [64500] },
    "lists": [ { "name": "own" }, { "name": "drop", "url": "https://192.0.2.1/drop.txt" } ] },
  "pools": [ { "name": "games", "origins": [ { "address": "10.0.0.20" }, { "address": "10.0.0.21" } ] } ],
  "services": [
    { "name": "minecraft", "protocols": ["tcp"], "ports": ["25565"], "pool": "games", "tcpHeader": "v2" },
    { "name": "source-games", "protocols": ["udp"], "ports": ["27015-27030"], "pool": "games", "shield": { "reflectors": "pass", "packetRules": [
      { "name": "no-short-ones", "protocol": "udp", "maxLength": 3 },
      { "name": "rare-opcode", "payload": "ffffffff ??", "action": "count" } ] } } ] }`

// pressure is what edge tells some seconds into an attack.
func pressure(mode plan.ShieldMode, seconds float64) status.Edge {
	since := func(rate float64) uint64 { return uint64(1e6 + rate*seconds) }
	vector := func(service string, v status.Vector, rate, stopped float64, armed bool) status.VectorCounter {
		c := status.VectorCounter{Service: service, Vector: v, Packets: since(rate), Bytes: 90 * since(rate), Armed: armed}
		if mode == plan.ShieldMonitor {
			c.Would = uint64(stopped * seconds)
		} else {
			c.Dropped = uint64(stopped * seconds)
		}
		return c
	}
	reason := func(r status.Reason, protocol plan.Protocol, rate float64) status.ReasonCounter {
		return status.ReasonCounter{Reason: r, Code: r.Code(), Protocol: protocol, Count: since(rate)}
	}
	edge := status.Edge{
		Version: "test", Started: time.Unix(1e9, 0), Reasons: []status.ReasonCounter{reason(status.NoSession, plan.TCP, 182_000), reason(status.Reflection, plan.UDP, 43_000),
			reason(status.NoService, plan.TCP, 3), reason(status.RateLimit, "icmp", 40), reason(status.Normal, plan.TCP, 9)},
		Services: []status.Service{{Name: "minecraft", Sessions: 411}, {Name: "source-games", Flows: 87}},
		Shield: status.Shield{
			Mode: mode,
			Attachments: []status.ShieldAttachment{{Interface: "wan0", Mode: "native"},
				{Interface: "wan1", Mode: "generic", Why: "attach link: create link: operation not supported"}},
			Cookies: status.Cookies{Sent: 1_284_310, Accepted: 4_021, Refused: 733},
			Sources: status.ShieldSources{Known: 1_377, Kept: 81_920, Shared: 904_211, Evicted: 12_004},
			Vectors: []status.VectorCounter{
				vector("minecraft", status.VectorSYN, 12, 0, false), vector("minecraft", status.VectorACK, 182_400, 182_000, true),
				vector("source-games", status.VectorUDP, 31, 0, false), vector("source-games", status.VectorReflection, 43_020, 43_000, true),
				vector("", status.VectorICMP, 44, 40, false), vector("", status.VectorFragment, 0, 0, false),
			},
			Rules: []status.RuleCounter{{Service: "source-games", Rule: "no-short-ones", Action: plan.RuleDrop, Packets: since(12)},
				{Service: "source-games", Rule: "rare-opcode", Action: plan.RuleCount, Packets: 3}},
		},
	}
	if mode == plan.ShieldMonitor {
		edge.Shield.Would, edge.Reasons = edge.Reasons[:2], edge.Reasons[2:]
	}
	edge.Conditions = []health.Condition{}
	return edge
}

// stray is a packet of the attack, with one of some sources.
func stray(n int, at time.Time) status.Sample {
	packet := make([]byte, 14+20+20)
	packet[12], packet[13] = 0x08, 0x00                              // Ethernet: IPv4
	packet[14], packet[17], packet[22], packet[23] = 0x45, 40, 64, 6 // 40 bytes, TCP
	copy(packet[26:], []byte{198, 51, byte(100 + n%2), byte(n % 7)})
	copy(packet[30:], []byte{203, 0, 113, 10})
	packet[34], packet[35], packet[36], packet[37] = byte(n), 80, 99, 221 // to port 25565
	packet[46], packet[47] = 0x50, 0x10                                   // an ACK
	return status.Sample{Time: at, Interface: "wan0", Service: "minecraft", Vector: status.VectorACK, Verdict: status.SampleDrop,
		Reason: status.NoSession, Length: len(packet), Bytes: packet}
}

// underAttack runs a site whose edge tells of an attack that goes on until the test ends. The function that it returns
// changes the mode that edge says it is in.
func underAttack(t testing.TB) (*box, func(plan.ShieldMode)) {
	t.Helper()
	site := webtest.Start(t)
	site.Apply(t, attackSet)
	modes, done := make(chan plan.ShieldMode), make(chan struct{})
	began, mode := time.Now(), plan.ShieldOn
	site.Edge.Observe(pressure(mode, 0))
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for open := true; open; site.Edge.Observe(pressure(mode, time.Since(began).Seconds())) {
			select {
			case <-tick.C:
				for n := range 40 {
					site.Edge.Sample(stray(n, time.Now()))
				}
			case next, ok := <-modes:
				if open = ok; ok {
					mode = next
				}
			}
		}
	}()
	t.Cleanup(func() { close(modes); <-done })
	b := &box{Ready: lab.Ready{URL: site.URL}, access: lab.Access{Socket: filepath.Join(site.Dir, "c.sock"), Certificate: filepath.Join(site.Dir, "certificate.pem")}}
	b.connect(t)
	return b, func(m plan.ShieldMode) { modes <- m }
}

// TestAnAttack looks at the pages that matter while one goes on.
func TestAnAttack(t *testing.T) {
	b, change := underAttack(t)
	p := b.signIn(t, "anna", "admin")
	p.visit("/shield")
	p.see("Under attack: ACK flood on minecraft, source-games", "Armed now for minecraft", "> 99 %") // with the next looks
	p.inspect("attack-shield")
	for _, path := range []string{"/shield/settings", "/services/source-games/edit", "/shield/mode/off", "/shield/lists", "/", "/incidents", "/incidents/alerts"} {
		t.Run(pageName(path), func(t *testing.T) {
			defer func(outer testing.TB) { p.t = outer }(p.t)
			p.t = t
			p.visit(path)
			if p.code() != http.StatusOK {
				t.Errorf("status %d: %.500s", p.code(), p.text())
			}
			p.inspect("attack-" + pageName(path))
		})
	}
	t.Run("the incident", func(t *testing.T) {
		defer func(outer testing.TB) { p.t = outer }(p.t)
		p.t = t
		p.visit(incidentPage)
		p.seeWithin(30*time.Second, "ACK flood on minecraft, source-games", "goes on", "can be forged", "198.51.100.0/24")
		p.inspect("attack-incident")
		p.click("Ban 198.51.100.0/24")
		p.press("Ban for 24 hours: 198.51.100.0/24")
		p.see("Banned.", "ACK flood")
	})
	change(plan.ShieldMonitor)
	p.visit("/shield")
	p.see("watching only", "What would have been dropped")
	p.inspect("attack-monitor")

	p.visit("/services/source-games/edit")
	p.press("Add a rule")
	p.fill("shield.packetRules[2].name", "everything")
	p.press("Review the change")
	if problem := p.problemAt("shield.packetRules[2].action"); !strings.Contains(problem, "matches every packet") {
		t.Errorf("at the rule stands %q", problem)
	}
	p.inspect("attack-problem")
}
