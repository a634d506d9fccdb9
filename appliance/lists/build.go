package lists

import (
	"cmp"
	"net/netip"
	"slices"
)

// Entry is a prefix of one class.
type Entry struct {
	Prefix netip.Prefix
	Class  uint8
}

// Entries gives all prefixes one class.
func Entries(prefixes []netip.Prefix, class uint8) []Entry {
	list := make([]Entry, len(prefixes))
	for i, p := range prefixes {
		list[i] = Entry{p, class}
	}
	return list
}

// Builder makes a Table, layer by layer.
type Builder struct {
	table  Table
	shared [kindCount]uint8 // the class of those of a kind for which there was no number left
}

// NewBuilder begins with a table in which no address has a class.
func NewBuilder() *Builder { return &Builder{} }

// Class gives a rule its number. Once there are no more, rules of a kind share one that is named "others".
func (b *Builder) Class(c Class) uint8 {
	if len(b.table.Classes)+int(kindCount) >= maxClasses {
		if n := b.shared[c.Kind]; n != 0 {
			return n
		}
		c.Name = "others"
		b.shared[c.Kind] = uint8(First + len(b.table.Classes))
	}
	b.table.Classes = append(b.table.Classes, c)
	return uint8(First + len(b.table.Classes) - 1)
}

// Exempt is the class of what a layer takes out of the rules below.
func (b *Builder) Exempt() uint8 { return exempt }

// Layer puts entries over all that is there. Among them the longest prefix that holds an address counts; of equal ones the
// last.
func (b *Builder) Layer(entries []Entry) {
	count := 0 // of IPv4
	for _, e := range entries {
		if e.Prefix.Addr().Is4() {
			count++
		}
	}
	v4, v6 := make([]block, 0, count), make([]block, 0, len(entries)-count)
	for i, e := range entries {
		at := block{KeyOf(e.Prefix.Masked().Addr()), KeyOf(lastOf(e.Prefix)), uint32(i), e.Class}
		if e.Prefix.Addr().Is4() {
			v4 = append(v4, at)
		} else {
			v6 = append(v6, at)
		}
	}
	b.table.V4 = merge(b.table.V4, flatten(v4, last4))
	b.table.V6 = merge(b.table.V6, flatten(v6, last6))
}

// Table is what was built. The builder must not be used again.
func (b *Builder) Table() *Table {
	b.table.V4, b.table.V6 = settle(b.table.V4), settle(b.table.V6)
	return &b.table
}

// settle turns what is exempt into no class.
func settle(spans []Span) []Span {
	done := spans[:0] // never longer than what was read
	for _, s := range spans {
		if s.Class == exempt {
			s.Class = None
		}
		done = appendSpan(done, s)
	}
	if len(done) == 1 && done[0].Class == None {
		return nil
	}
	return done
}

// block is a prefix as its first and last address.
type block struct {
	from, to Key
	order    uint32 // among equal ones
	class    uint8
}

// compare puts the wider one first of those that begin at one place.
func (a block) compare(b block) int {
	if c := a.from.Compare(b.from); c != 0 {
		return c
	}
	return cmp.Or(b.to.Compare(a.to), cmp.Compare(a.order, b.order))
}

func lastOf(p netip.Prefix) netip.Addr {
	if p.Addr().Is4() {
		a := p.Masked().Addr().As4()
		fill(a[:], p.Bits())
		return netip.AddrFrom4(a)
	}
	a := p.Masked().Addr().As16()
	fill(a[:], p.Bits())
	return netip.AddrFrom16(a)
}

// fill sets all bits behind the first.
func fill(a []byte, first int) {
	for i := range a {
		if keep := first - 8*i; keep < 8 {
			a[i] |= byte(0xff) >> max(keep, 0)
		}
	}
}

// The last addresses there are.
var last4, last6 = Key{Lo: 1<<32 - 1}, Key{1<<64 - 1, 1<<64 - 1}

// flatten turns prefixes, one within another, into spans. last is the last address.
func flatten(list []block, last Key) []Span {
	if len(list) == 0 {
		return nil
	}
	slices.SortFunc(list, block.compare)
	spans := append(make([]Span, 0, 2*len(list)+1), Span{})
	var open []block // each within the one before
	for i := range list {
		spans, open = closeBlocks(spans, open, func(b block) bool { return b.to.Compare(list[i].from) < 0 })
		spans = appendSpan(spans, Span{list[i].from, list[i].class})
		open = append(open, list[i])
	}
	spans, _ = closeBlocks(spans, open, func(block) bool { return true })
	if end := spans[len(spans)-1]; last.Compare(end.From) < 0 {
		spans = spans[:len(spans)-1] // what is behind the last address
	}
	return spans
}

// closeBlocks ends those that are over: what is around them goes on.
func closeBlocks(spans []Span, open []block, over func(block) bool) ([]Span, []block) {
	for len(open) > 0 && over(open[len(open)-1]) {
		end := open[len(open)-1].to.next()
		open = open[:len(open)-1]
		if end == (Key{}) {
			continue // behind the last address
		}
		s := Span{From: end}
		if len(open) > 0 {
			s.Class = open[len(open)-1].class
		}
		spans = appendSpan(spans, s)
	}
	return spans, open
}

// appendSpan adds a span that begins with or behind the last one. Of two at one place the later counts; two of one class are
// one.
func appendSpan(spans []Span, s Span) []Span {
	if n := len(spans); n > 0 && spans[n-1].From == s.From {
		spans = spans[:n-1]
	}
	if n := len(spans); n > 0 && spans[n-1].Class == s.Class {
		return spans
	}
	return append(spans, s)
}

// merge puts upper over lower.
func merge(lower, upper []Span) []Span {
	if len(upper) == 0 {
		return lower
	}
	if len(lower) == 0 {
		return upper
	}
	merged := make([]Span, 0, len(lower)+len(upper))
	var below, above uint8
	for len(lower) > 0 || len(upper) > 0 {
		var at Key
		switch {
		case len(upper) == 0 || len(lower) > 0 && lower[0].From.Compare(upper[0].From) <= 0:
			at, below, lower = lower[0].From, lower[0].Class, lower[1:]
		default:
			at, above, upper = upper[0].From, upper[0].Class, upper[1:]
		}
		class := above
		if above == None {
			class = below
		}
		merged = appendSpan(merged, Span{at, class})
	}
	return merged
}
