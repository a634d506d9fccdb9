package api

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"breakwater/appliance/control"
	"breakwater/appliance/status"
)

// scrapeWait bounds what a scrape waits for edge; Prometheus gives up after 10 s by default.
const scrapeWait = 8 * time.Second

// Metrics answers the status in the text format of Prometheus. It keeps no numbers of its own, so a restart of control
// resets no counter.
func (a *API) Metrics() echo.HandlerFunc {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{a})
	return echo.WrapHandler(promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
}

type collector struct{ api *API }

// metric is one line of the table below.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("breakwater_"+name, help, labels, nil), prometheus.GaugeValue}
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc("breakwater_"+name, help, labels, nil), prometheus.CounterValue}
}

var (
	info      = gauge("info", "Always 1; the labels tell the versions.", "control", "edge")
	edgeUp    = gauge("edge_up", "Whether the data plane answers.")
	inForce   = gauge("settings_in_force", "Whether the data plane runs the current settings.")
	revision  = gauge("revision", "The current revision of the settings.")
	pending   = gauge("change_pending", "Whether a change waits for its confirmation.")
	condition = gauge("condition", "Conditions that are raised.", "code", "subject", "severity")
	started   = gauge("edge_start_time_seconds", "When the data plane was started, in Unix time.")
	repairs   = counter("steering_repairs_total", "How often something of the steering was missing and put back.")
	closes    = counter("closes_total", "Sessions and flows that ended, and connections and datagrams that were dropped.", "reason", "code", "protocol")
	events    = counter("events_sent_total", "Events sent to readers of the event stream.")
	eventLost = counter("events_lost_total", "Events that a reader of the event stream was too slow for.")
	bans      = gauge("bans", "Bans in force.")
	logins    = gauge("logins", "Browsers that are logged in.")

	sessions       = gauge("sessions", "TCP sessions that are open.", "service")
	flows          = gauge("flows", "UDP flows that are alive.", "service")
	sessionsOpened = counter("sessions_opened_total", "TCP sessions opened.", "service")
	flowsOpened    = counter("flows_opened_total", "UDP flows opened.", "service")
	payload        = counter("payload_bytes_total", "Payload passed on, without PROXY headers.", "service", "to")
	datagrams      = counter("datagrams_total", "UDP datagrams passed on.", "service", "to")

	interfaceUp      = gauge("interface_up", "Whether the network interface has a carrier.", "interface")
	interfaceBytes   = counter("interface_bytes_total", "Bytes on the network interface.", "interface", "direction")
	interfacePackets = counter("interface_packets_total", "Packets on the network interface.", "interface", "direction")
	interfaceDrops   = counter("interface_drops_total", "Packets that the kernel dropped at the network interface.", "interface", "direction")

	incidentsOpen = gauge("incidents_open", "Incidents that go on.", "vector")
	incidentsSeen = counter("incidents_total", "Incidents found since this box was set up, as far as they are numbered.")
	shieldPackets = counter("shield_packets_total", "Packets of the kinds that attacks are made of.", "service", "vector")
	shieldDropped = counter("shield_dropped_total", "Packets of these that the shield dropped.", "service", "vector")
	shieldWould   = counter("shield_would_total", "Packets of these that mode monitor let pass.", "service", "vector")

	poolPanic      = gauge("pool_panic", "Whether every origin of the pool is down, so that all are used.", "pool")
	originUp       = gauge("origin_up", "Whether the origin is up.", "pool", "origin", "address")
	originSessions = gauge("origin_sessions", "Sessions and flows that the origin serves.", "pool", "origin", "address")
	originChosen   = counter("origin_chosen_total", "How often the origin was chosen.", "pool", "origin", "address")
	originPortless = counter("origin_connects_without_port_total", "Connects for clients for which no source port was left.", "pool", "origin", "address")
	originFailed   = counter("origin_connects_failed_total", "Connects for clients that failed.", "pool", "origin", "address")
	originChecks   = counter("origin_checks_total", "Health checks made.", "pool", "origin", "address")
	originBad      = counter("origin_checks_failed_total", "Health checks that failed.", "pool", "origin", "address")
)

// Describe sends nothing: which metrics there are depends on the settings.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect builds the metrics of one moment.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeWait)
	defer cancel()
	s, err := c.api.Control.Status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(revision.desc, err)
		return
	}
	w := writer{ch, map[string]bool{}}
	w.put(revision, float64(s.Revision))
	w.put(inForce, truth(s.InForce))
	w.put(pending, truth(s.Pending != nil))
	w.put(edgeUp, truth(s.Edge != nil))
	for _, c := range s.Conditions {
		w.put(condition, 1, c.Code, c.Subject, string(c.Severity))
	}
	w.people(c.api)
	w.incidents(c.api)
	if s.Edge == nil {
		w.put(info, 1, s.Version, "")
		return
	}
	w.put(info, 1, s.Version, s.Edge.Version)
	w.edge(*s.Edge)
}

// writer leaves out a metric that was sent already: one repetition would cost the whole scrape.
type writer struct {
	ch   chan<- prometheus.Metric
	sent map[string]bool
}

func (w writer) put(m metric, value float64, labels ...string) {
	key := m.desc.String() + "\x00" + strings.Join(labels, "\x00")
	if w.sent[key] {
		return
	}
	w.sent[key] = true
	w.ch <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

// people leaves out what cannot be read: it must not cost the rest of the scrape.
func (w writer) people(a *API) {
	if banned, err := a.Control.Bans(); err == nil {
		w.put(bans, float64(len(banned)))
	}
	if open, err := a.Access.Logins(); err == nil {
		w.put(logins, float64(len(open)))
	}
}

func (w writer) incidents(a *API) {
	all := a.Control.Incidents(control.IncidentQuery{})
	open := map[status.Vector]int{}
	for _, i := range all {
		open[i.Vector] += 0 // a vector that was seen stays, as a zero
		if i.Open() {
			open[i.Vector]++
		}
	}
	for vector, n := range open {
		w.put(incidentsOpen, float64(n), string(vector))
	}
	newest := uint64(0)
	if len(all) > 0 {
		newest = all[0].ID
	}
	w.put(incidentsSeen, float64(newest))
}

// maxShieldServices is how many services have lines of their own, the first by name; those of all others are added up.
const maxShieldServices = 200

func (w writer) shield(vectors []status.VectorCounter) {
	services := map[string]bool{}
	for _, v := range vectors {
		services[v.Service] = true
	}
	names := slices.Sorted(maps.Keys(services))
	type key struct {
		service string
		vector  status.Vector
	}
	sums := map[key]status.VectorCounter{}
	for _, v := range vectors {
		k := key{v.Service, v.Vector}
		if at, _ := slices.BinarySearch(names, v.Service); at >= maxShieldServices {
			k.service = "(others)"
		}
		sum := sums[k]
		sum.Packets, sum.Dropped, sum.Would = sum.Packets+v.Packets, sum.Dropped+v.Dropped, sum.Would+v.Would
		sums[k] = sum
	}
	for k, sum := range sums {
		w.put(shieldPackets, float64(sum.Packets), k.service, string(k.vector))
		w.put(shieldDropped, float64(sum.Dropped), k.service, string(k.vector))
		w.put(shieldWould, float64(sum.Would), k.service, string(k.vector))
	}
}

func (w writer) interfaces(all []status.Interface) {
	for _, i := range all {
		w.put(interfaceUp, truth(i.Up && i.Running), i.Name)
		for direction, count := range map[string]status.Counters{"receive": i.Rx, "transmit": i.Tx} {
			w.put(interfaceBytes, float64(count.Bytes), i.Name, direction)
			w.put(interfacePackets, float64(count.Packets), i.Name, direction)
			w.put(interfaceDrops, float64(count.Drops), i.Name, direction)
		}
	}
}

func (w writer) edge(e status.Edge) {
	w.interfaces(e.Interfaces)
	w.shield(e.Shield.Vectors)
	w.put(started, float64(e.Started.UnixMilli())/1000)
	w.put(repairs, float64(e.Steering.Repairs))
	w.put(events, float64(e.Events.Sent))
	w.put(eventLost, float64(e.Events.Lost))
	for _, r := range e.Reasons {
		w.put(closes, float64(r.Count), r.Reason.String(), strconv.Itoa(r.Code), string(r.Protocol))
	}
	for _, s := range e.Services {
		w.put(sessions, float64(s.Sessions), s.Name)
		w.put(flows, float64(s.Flows), s.Name)
		w.put(sessionsOpened, float64(s.SessionsOpened), s.Name)
		w.put(flowsOpened, float64(s.FlowsOpened), s.Name)
		w.put(payload, float64(s.BytesToOrigin), s.Name, "origin")
		w.put(payload, float64(s.BytesToClient), s.Name, "client")
		w.put(datagrams, float64(s.DatagramsToOrig), s.Name, "origin")
		w.put(datagrams, float64(s.DatagramsToCli), s.Name, "client")
	}
	for _, p := range e.Pools {
		w.put(poolPanic, truth(p.Panic), p.Name)
		for _, o := range p.Origins {
			w.put(originUp, truth(o.Up), p.Name, o.Name, o.Address)
			w.put(originSessions, float64(o.Sessions), p.Name, o.Name, o.Address)
			w.put(originChosen, float64(o.Chosen), p.Name, o.Name, o.Address)
			w.put(originFailed, float64(o.Failed), p.Name, o.Name, o.Address)
			w.put(originPortless, float64(o.Portless), p.Name, o.Name, o.Address)
			w.put(originChecks, float64(o.Checks), p.Name, o.Name, o.Address)
			w.put(originBad, float64(o.Failures), p.Name, o.Name, o.Address)
		}
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
