package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	"breakwater/appliance/health"
	"breakwater/appliance/steering"
)

const (
	// probeEvery is how often the return path of transparent services is tried.
	probeEvery = 15 * time.Second
	// probePort is tried on origins that keep the client's port: RST from a closed port proves the path as well as
	// SYN-ACK from an open one. 9 is discard (RFC 863), which no game uses.
	probePort = 9
	probeTime = 2 * time.Second
)

const returnPath = "return-path"

// watchReturnPaths probes when a plan came into force, and now and then, until ctx ends.
func (e *Edge) watchReturnPaths(ctx context.Context) error {
	probe := time.NewTicker(probeEvery)
	defer probe.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-probe.C:
		case <-e.changed:
		}
		e.probe(ctx)
	}
}

// probe dials the origins of transparent services from an address that is nobody's. Only a reply that comes back
// through the box proves that players' replies will: without this check a wrong route is a silent black hole.
func (e *Edge) probe(ctx context.Context) {
	e.mu.Lock()
	p := e.current
	e.mu.Unlock()
	wanted := map[string]bool{}
	if p != nil {
		for _, name := range transparentPools(p) {
			wanted[name] = true
		}
	}
	seen := map[string]bool{}
	for _, pool := range e.pools.Status() {
		for _, o := range pool.Origins {
			at, ok := addrPort(o.Address, probePort)
			if !wanted[pool.Name] || !ok {
				continue
			}
			subject := pool.Name + "/" + o.Name
			seen[subject] = true
			ctx, cancel := context.WithTimeout(ctx, probeTime)
			err := steering.ProbeReturn(ctx, at)
			cancel()
			e.tellReturnPath(subject, o.Address, err)
		}
	}
	for _, c := range e.conditions.List() {
		if c.Code == returnPath && !seen[c.Subject] {
			e.conditions.Clear(returnPath, c.Subject)
		}
	}
}

func (e *Edge) tellReturnPath(subject, address string, err error) {
	if err == nil {
		e.conditions.Clear(returnPath, subject)
		return
	}
	if !errors.Is(err, steering.ErrNoReturn) {
		e.options.Log.Warn("probe the return path", "origin", subject, "err", err)
		return
	}
	e.conditions.Raise(health.Condition{
		Code: returnPath, Subject: subject, Severity: health.Critical,
		Title: "Replies of a transparent origin do not come back through the box",
		Detail: fmt.Sprintf("A connection to %s from a foreign address got no answer. Make this box the origin's default gateway, "+
			"or route its replies here, or turn transparent off for the services that use it.", address),
	})
}
