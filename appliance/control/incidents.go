package control

import (
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"breakwater/appliance/incident"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
)

// Incident is one attack, from its detection to the all-clear.
type Incident = incident.Incident

// maxDetails bounds the details of an incident when they are unpacked: 200 packets and 600 points are a tenth of it.
const maxDetails = 2 << 20

// incidents are those that are kept, and those that go on.
type incidents struct {
	mu      sync.Mutex
	list    []Incident                  // the oldest first, without series; also those that go on
	series  map[uint64][]incident.Point // of those that go on
	packets map[uint64][]status.Sample  // of those that go on
	lines   []incident.Line             // network ports that are at their end now
}

// details are what is read of one incident alone.
type details struct {
	Series  []incident.Point `json:"series"`
	Packets []status.Sample  `json:"packets"`
}

func (d details) pack() ([]byte, error) {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if err := errors.Join(json.NewEncoder(w).Encode(d), w.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func unpack(packed []byte) (d details, err error) {
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return d, err
	}
	return d, json.NewDecoder(io.LimitReader(r, maxDetails)).Decode(&d)
}

// loadIncidents reads what the store has. What went on when the last control ended is closed, and returned.
func (c *Control) loadIncidents() (interrupted []Incident, err error) {
	stored, err := c.store.Incidents()
	if err != nil {
		return nil, err
	}
	c.incidents.series, c.incidents.packets = map[uint64][]incident.Point{}, map[uint64][]status.Sample{}
	for _, record := range stored {
		var i Incident
		if err := json.Unmarshal(record.Record, &i); err != nil {
			c.log.Error("an incident cannot be read", "incident", record.Number, "err", err)
			continue
		}
		if i.Open() {
			i.End, i.Note = i.Updated, "Control was restarted while it went on, so its end is not known. What came later is another incident."
			interrupted = append(interrupted, i)
		}
		c.incidents.list = append(c.incidents.list, i)
	}
	return interrupted, nil
}

// keepIncident writes an incident to the store.
func (c *Control) keepIncident(i Incident, packets []status.Sample) error {
	packed, err := details{i.Series, packets}.pack()
	if err != nil {
		return fmt.Errorf("write incident %d: %w", i.ID, err)
	}
	i.Series = nil
	record, err := json.Marshal(i)
	if err != nil {
		return fmt.Errorf("write incident %d: %w", i.ID, err)
	}
	return c.store.PutIncident(store.Incident{Number: i.ID, Record: record, Details: packed})
}

// put takes over an incident as it is now.
func (n *incidents) put(i Incident, packets []status.Sample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if i.Open() {
		n.series[i.ID], n.packets[i.ID] = i.Series, packets
	} else {
		delete(n.series, i.ID)
		delete(n.packets, i.ID)
	}
	i.Series = nil
	at, known := slices.BinarySearchFunc(n.list, i.ID, func(i Incident, id uint64) int { return cmp.Compare(i.ID, id) })
	if known {
		n.list[at] = i
		return
	}
	n.list = slices.Insert(n.list, at, i)
	n.list = n.list[max(0, len(n.list)-store.MaxIncidents):]
}

// IncidentQuery says which incidents are asked for. The zero value asks for all.
type IncidentQuery struct {
	Before  uint64        // only those with a lower ID; 0: from the newest on
	Limit   int           // 0: all
	Service string        // that was hit; empty: any
	Vector  status.Vector // that it is mainly made of; empty: any
	Open    bool          // only those that go on
}

func (q IncidentQuery) wants(i *Incident) bool {
	return (q.Before == 0 || i.ID < q.Before) && (q.Service == "" || slices.Contains(i.Services, q.Service)) &&
		(q.Vector == "" || i.Vector == q.Vector) && (!q.Open || i.Open())
}

// Incidents lists incidents, the newest first, without their series. At most 500 are kept.
func (c *Control) Incidents(q IncidentQuery) []Incident {
	c.incidents.mu.Lock()
	defer c.incidents.mu.Unlock()
	list := []Incident{}
	for _, i := range slices.Backward(c.incidents.list) {
		if q.Limit > 0 && len(list) == q.Limit {
			break
		}
		if q.wants(&i) {
			list = append(list, i)
		}
	}
	return list
}

// Incident is one incident with its series; ErrNotFound when it is not kept.
func (c *Control) Incident(id uint64) (Incident, error) {
	i, series, _, err := c.incident(id)
	if err == nil && !i.Open() {
		var d details
		d, err = c.details(id)
		series = d.Series
	}
	i.Series = series
	return i, err
}

// IncidentPackets are the packets that are kept of an incident, in the order in which they came; ErrNotFound as Incident.
func (c *Control) IncidentPackets(id uint64) ([]status.Sample, error) {
	i, _, packets, err := c.incident(id)
	if err == nil && !i.Open() {
		var d details
		d, err = c.details(id)
		packets = d.Packets
	}
	return packets, err
}

func (c *Control) incident(id uint64) (i Incident, series []incident.Point, packets []status.Sample, err error) {
	c.incidents.mu.Lock()
	defer c.incidents.mu.Unlock()
	at, known := slices.BinarySearchFunc(c.incidents.list, id, func(i Incident, id uint64) int { return cmp.Compare(i.ID, id) })
	if !known {
		return i, nil, nil, ErrNotFound
	}
	return c.incidents.list[at], c.incidents.series[id], c.incidents.packets[id], nil
}

// details are what the store has of an incident that is over. One that could not be stored has none.
func (c *Control) details(id uint64) (details, error) {
	packed, err := c.store.IncidentDetails(id)
	if errors.Is(err, store.ErrNotFound) {
		return details{}, nil
	}
	if err != nil {
		return details{}, err
	}
	d, err := unpack(packed)
	if err != nil {
		return details{}, fmt.Errorf("read incident %d: %w", id, err)
	}
	return d, nil
}

// lines of the network ports, as last seen.
func (n *incidents) atTheirEnd(lines []incident.Line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lines = lines
}

// Lines are the network ports that are at their end now.
func (c *Control) Lines() []incident.Line {
	c.incidents.mu.Lock()
	defer c.incidents.mu.Unlock()
	return slices.Clone(c.incidents.lines)
}

// saveEvery is how often an incident that goes on is written to the store, and learnedEvery what is usual.
const (
	saveEvery    = 30 * time.Second
	learnedEvery = 10 * time.Minute
)
