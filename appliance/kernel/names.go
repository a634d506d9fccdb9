package kernel

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/cilium/ebpf"
)

// names gives services, origins and pools the numbers by which the program knows them. They are kept in a pinned map, as
// sessions outlive the process that gave the numbers. A number is never used for another name.
type names struct {
	table  *ebpf.Map
	number map[string]uint32
	name   map[uint32]string
	next   [kinds]uint32
}

type kind uint32

const (
	kindService kind = iota
	kindOrigin       // pool, name and address of an origin; or pool and name, for what its addresses have together
	kindPool
	kindRule // service and name of a packet rule
	kinds
)

// maxNumber is below the entries of the arrays that numbers lead into; maxPools of that of the pools' turns, maxRuleNumbers of the hits of packet rules.
const (
	maxNumber      = 131072
	maxPools       = 4096
	maxRuleNumbers = 4096
)

// key is a name with its kind, as the map has it.
func (k kind) key(number uint32) uint32 { return uint32(k)<<28 | number }

func (n *names) load(table *ebpf.Map) error {
	*n = names{table: table, number: make(map[string]uint32), name: make(map[uint32]string)}
	var key uint32
	var text [nameSize]byte
	entries := table.Iterate()
	for entries.Next(&key, &text) {
		k, number := kind(key>>28), key&(1<<28-1)
		if k >= kinds {
			continue
		}
		name, _, _ := bytes.Cut(text[:], []byte{0})
		n.number[k.text(string(name))] = number
		n.name[key] = string(name)
		n.next[k] = max(n.next[k], number+1)
	}
	if err := entries.Err(); err != nil {
		return fmt.Errorf("read the names of the kernel path: %w", err)
	}
	return nil
}

const nameSize = 256

func (k kind) text(name string) string { return string(rune('a'+k)) + name }

var errManyNames = errors.New("there were more names of services and origins since the last start of the box than the kernel path can tell apart")

// of gives the number of a name, the same as ever if it had one.
func (n *names) of(k kind, parts ...string) (uint32, error) {
	name := strings.Join(parts, "\n")
	if number, known := n.number[k.text(name)]; known {
		return number, nil
	}
	number := n.next[k]
	limit := uint32(maxNumber)
	switch k {
	case kindPool:
		limit = maxPools
	case kindRule:
		limit = maxRuleNumbers
	}
	if number >= limit {
		return 0, errManyNames
	}
	var text [nameSize]byte
	if len(name) >= nameSize {
		return 0, fmt.Errorf("the name %q has %d bytes, at most %d are possible", name, len(name), nameSize-1)
	}
	copy(text[:], name)
	if err := n.table.Put(k.key(number), text); err != nil {
		return 0, fmt.Errorf("write a name of the kernel path: %w", err)
	}
	n.number[k.text(name)], n.name[k.key(number)] = number, name
	n.next[k]++
	return number, nil
}

// service is the name of a service.
func (n *names) service(number uint32) string { return n.name[kindService.key(number)] }

// origin is the name of an origin.
func (n *names) origin(number uint32) string {
	_, name, _ := n.originAt(number)
	return name
}

// originAt is where an origin's number leads: its pool, its name, and its address if the number is that of one.
func (n *names) originAt(number uint32) (pool, name, address string) {
	pool, name, _ = strings.Cut(n.name[kindOrigin.key(number)], "\n")
	name, address, _ = strings.Cut(name, "\n")
	return pool, name, address
}
