package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"breakwater/appliance/plan"
)

// engine is one of the two that breakwater has, in a box of its own, with or without the shield in front.
type engine struct {
	path      plan.Path
	shield    plan.ShieldMode
	namespace string
	edge      netip.Addr // what clients dial; the box does not own it
	origin    netip.Addr
	pins      string
	synRate   int // SYNs a second that are no flood; 0: as always
}

var (
	userEngine   = engine{plan.PathUser, plan.ShieldOff, edgeNS, edgeAddress, edgeOrigin, "", 0}
	kernelEngine = engine{plan.PathKernel, plan.ShieldOff, kernelNS, kernelAddress, kernelOrigin, "/sys/fs/bpf/breakwater-bench", 0}
	shieldEngine = engine{plan.PathKernel, plan.ShieldOn, shieldNS, shieldAddress, shieldOrigin, "/sys/fs/bpf/breakwater-bench-shield", manySYNs}

	// guardedEngine is for floods. Nothing is to come through, so its origin is nobody.
	guardedEngine = engine{plan.PathKernel, plan.ShieldOn, guardedNS, guardedAddress, attackerOfIt, "/sys/fs/bpf/breakwater-bench-guarded", 0}
)

// manySYNs is more than the client asks for. It connects as fast as it can from one address, and is no flood: by SYN cookies a
// network gets 2,048 connections a second, and they are the user path's.
const manySYNs = 1 << 20

func (e engine) state() string  { return filepath.Join(workDir, e.namespace) }
func (e engine) socket() string { return e.state() + ".sock" }

// breakwaterEdge starts the real edge process and gives it a plan over its socket.
func breakwaterEdge(core int, binary string, e engine) func(*target) (*process, error) {
	return func(t *target) (*process, error) {
		state, socket := e.state(), e.socket()
		if err := errors.Join(os.RemoveAll(socket), e.forget()); err != nil {
			return nil, fmt.Errorf("remove what the last edge left: %w", err)
		}
		p, err := startIn(e.namespace, core, binary, "edge", "--socket", socket, "--state", state, "--pins", e.pins)
		if err != nil {
			return nil, err
		}
		if err := putPlan(socket, e.plan(t)); err != nil {
			_ = p.stop() // the first error says more
			return nil, fmt.Errorf("%w%s", err, p.log.suffix())
		}
		return p, nil
	}
}

// forget removes the program and its maps. Without it the sessions of the last cell would go on.
func (e engine) forget() error {
	if e.pins == "" {
		return nil
	}
	return os.RemoveAll(e.pins)
}

// plan takes every port of the edge address to the target's port of the origin.
func (e engine) plan(t *target) plan.Plan {
	edge := netip.PrefixFrom(e.edge, e.edge.BitLen())
	every := func(p plan.Protocol) plan.Route {
		return plan.Route{Protocol: p, FirstPort: 1, LastPort: 65535, Addresses: []netip.Prefix{edge}}
	}
	return plan.Plan{
		Revision: 1,
		Steering: plan.Steering{Interfaces: []string{wanName}, Addresses: []netip.Prefix{edge}},
		Shield:   plan.Shield{Mode: e.shield},
		Routes:   []plan.Route{every(plan.TCP), every(plan.UDP)},
		Services: []plan.Service{{
			Name:      "bench",
			Path:      e.path,
			TCPHeader: plan.TCPHeader(t.header),
			UDPHeader: plan.UDPNone,
			Shield:    plan.ServiceShield{SYNRate: e.synRate},
			Timeouts: plan.Timeouts{Connect: 5 * time.Second, Header: 5 * time.Second, Idle: time.Hour,
				HalfClose: time.Hour, WriteStall: time.Minute, FlowIdle: time.Second},
			Limits: plan.ServiceLimits{MaxAmplification: 3},
		}},
		Pools: []plan.Pool{{
			Name:   "origin",
			Choice: plan.SourceHash,
			Origins: []plan.Origin{{Name: "origin", Address: e.origin.String(), FirstPort: t.originPort,
				LastPort: t.originPort, Weight: 1, State: plan.Active}},
			Health: plan.Health{Check: plan.CheckNone, Interval: 10 * time.Second, Timeout: 2 * time.Second, Rise: 2, Fall: 3},
		}},
		Limits: plan.Limits{MaxSessions: maxSessions, MaxFlows: 1400, MaxFlowsPerSource: 4000, NewFlowsPerSec: 100000},
	}
}

// putPlan waits up to ten seconds for the socket and puts the plan.
func putPlan(socket string, p plan.Plan) error {
	body, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode the plan: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var dialer net.Dialer
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true, // edge shall have nothing to keep while others are measured
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", socket)
		},
	}}
	for {
		answered, err := putOnce(ctx, &client, body)
		if answered || ctx.Err() != nil {
			return err
		}
		time.Sleep(50 * time.Millisecond) // the socket is not there yet
	}
}

// putOnce says whether edge answered at all, and what was wrong.
func putOnce(ctx context.Context, client *http.Client, body []byte) (answered bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://edge/plan", bytes.NewReader(body))
	if err != nil {
		return true, fmt.Errorf("make the plan request: %w", err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return false, fmt.Errorf("put the plan: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 2048)) // best effort: the status says it
		return true, fmt.Errorf("put the plan: %s: %s", resp.Status, text)
	}
	return true, nil
}
