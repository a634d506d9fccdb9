// Package lists makes one table out of block lists, AS numbers and countries: every address has one class, which says who
// wrote about it and whether it may come in.
//
//	prefixes, broken, err := lists.Parse(file)
//	b := lists.NewBuilder() // from the lowest precedence to the highest
//	class := b.Class(lists.Class{Kind: lists.KindList, Name: "drop"})
//	b.Layer(lists.Entries(prefixes, class))
//	table := b.Table()
//
// A table is spans: from one address to the next, all have the same class. It has no prefixes any more, so nothing about it
// is undecided, and a data plane looks up one thing for all rules together. Encode gives it a compact form with a checksum.
package lists

import (
	"cmp"
	"encoding/binary"
	"net/netip"
	"slices"
)

// The classes that no table has: the rules of the operator's own hand and of the box itself.
const (
	None      = 0
	Protected = 1 // what the box depends on: always let in
	Allowed   = 2
	Banned    = 3
	Denied    = 4
	// First is the number of the first class of a table.
	First = 8
	// exempt is let in by a rule that wins over those below; it is None in the table.
	exempt = 255
	// maxClasses are as many as a byte has numbers for.
	maxClasses = exempt - First
)

// The most that a table may have. A list of 2 million prefixes has 4 million spans at most.
const maxSpans = 1 << 23

// Kind is what a class was made of.
type Kind uint8

// The kinds.
const (
	KindList    Kind = iota // a list of prefixes
	KindNetwork             // an AS number
	KindCountry
	kindCount
)

// Class is one rule that addresses fall under.
type Class struct {
	Kind Kind
	Name string // of the list, "AS64496", "DE"
	Pass bool   // let in whatever the rules below say; otherwise dropped
}

// Key is an IPv6 address, or an IPv4 address in its last 32 bits.
type Key struct{ Hi, Lo uint64 }

// KeyOf is the key of an address.
func KeyOf(a netip.Addr) Key {
	if a = a.Unmap(); a.Is4() {
		b := a.As4()
		return Key{Lo: uint64(binary.BigEndian.Uint32(b[:]))}
	}
	b := a.As16()
	return Key{binary.BigEndian.Uint64(b[:8]), binary.BigEndian.Uint64(b[8:])}
}

// Compare orders keys as their addresses.
func (k Key) Compare(other Key) int {
	if k.Hi != other.Hi {
		return cmp.Compare(k.Hi, other.Hi)
	}
	return cmp.Compare(k.Lo, other.Lo)
}

func (k Key) next() Key {
	k.Lo++
	if k.Lo == 0 {
		k.Hi++
	}
	return k
}

// Span says the class of all addresses from From to the next span.
type Span struct {
	From  Key
	Class uint8
}

// Table is the class of every address. V4 and V6 each begin with the first address there is, in order; an empty one has no
// classes at all.
type Table struct {
	Classes []Class // the first has the number First
	V4, V6  []Span
}

// Lookup is the class of an address.
func (t *Table) Lookup(a netip.Addr) uint8 {
	a = a.Unmap()
	spans := t.V6
	if a.Is4() {
		spans = t.V4
	}
	i, exact := slices.BinarySearchFunc(spans, KeyOf(a), func(s Span, k Key) int { return s.From.Compare(k) })
	if !exact {
		i--
	}
	if i < 0 {
		return None
	}
	return spans[i].Class
}

// Empty tells whether no address has a class.
func (t *Table) Empty() bool { return len(t.V4) == 0 && len(t.V6) == 0 }
