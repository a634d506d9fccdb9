package kernel

import (
	"fmt"
	"math"

	"breakwater/appliance/lists"
)

// The numbers of bpf/lists.h.
const (
	listRoot      = 1
	listRootLines = 4096
	listDeep      = 1 << 31
	listLevels    = 8
	listWithin    = 65535
	listClasses   = 256
	lineWords     = 8
	listLeaf      = 255
	blockWords    = 5 * lineWords
	blockBits     = 4 * lineWords // where in a block its bits are
	leafWords     = 5
	pageWords     = 32
)

// drawing is a table of lists as bpf/lists.h describes it.
type drawing struct {
	head   []uint64 // the first line, and the numbers for each /16
	blocks []uint64
	tail   []uint64    // what is addressed by word; what points here is moved when the blocks are all there
	leaves [][256]byte // of the block that is drawn
	pages  []int       // words of tail that have the place of a page in their upper half
	tree   []uint64    // whole lines
}

// draw makes the lines of a table.
func draw(t *lists.Table) ([]uint64, error) {
	d := drawing{head: make([]uint64, (listRoot+listRootLines)*lineWords)}
	d.draw4(t.V4)
	places, values, err := d.places6(t.V6)
	if err != nil {
		return nil, err
	}
	tail := uint64(len(d.head) + len(d.blocks))
	for at := blockBits + 4; at < len(d.blocks); at += blockWords {
		d.blocks[at] += tail
	}
	for _, at := range d.pages {
		d.tail[at] += tail << 32
	}
	for i, v := range values {
		if v&listDeep != 0 {
			values[i] += uint32(tail)
		}
	}
	for len(d.tail)%lineWords != 0 {
		d.tail = append(d.tail, 0)
	}
	d.plant(places, values, len(d.head)+len(d.blocks)+len(d.tail))
	words := make([]uint64, 0, len(d.head)+len(d.blocks)+len(d.tail)+len(d.tree))
	words = append(append(append(append(words, d.head...), d.blocks...), d.tail...), d.tree...)
	if len(words) >= listDeep {
		return nil, fmt.Errorf("the table of lists has %d words, which are too many", len(words))
	}
	return words, nil
}

// cursor goes through spans of IPv4.
type cursor struct {
	spans []lists.Span
	class uint8
}

// uniform moves to an address and tells whether all up to last have one class.
func (c *cursor) uniform(first, last uint64) bool {
	for len(c.spans) > 0 && c.spans[0].From.Lo <= first {
		c.class, c.spans = c.spans[0].Class, c.spans[1:]
	}
	return len(c.spans) == 0 || c.spans[0].From.Lo > last
}

func (d *drawing) draw4(spans []lists.Span) {
	c := cursor{spans: spans}
	d.blocks = make([]uint64, 0, min(len(spans), 1<<16)*blockWords)
	for net := range uint64(1 << 16) {
		number := uint64(0)
		if first := net << 16; c.uniform(first, first|0xffff) {
			number = uint64(c.class)
		} else {
			number = listDeep | uint64((len(d.head)+len(d.blocks))/lineWords)
			d.block(&c, first)
		}
		d.head[listRoot*lineWords+net/2] |= number << (net % 2 * 32)
	}
}

// block draws a /16 in which not all have one class.
func (d *drawing) block(c *cursor, start uint64) {
	at := len(d.blocks)
	d.blocks = append(d.blocks, make([]uint64, blockWords)...)
	block := d.blocks[at:]
	d.leaves = d.leaves[:0]
	before := uint64(0) // how many leaves there are before each 64
	for net := range uint64(256) {
		if net%64 == 0 {
			before |= uint64(len(d.leaves)) << (32 + net/64*8)
		}
		first := start | net<<8
		value := uint64(listLeaf)
		if c.uniform(first, first|255) {
			value = uint64(c.class)
		} else {
			d.leaves = append(d.leaves, c.hosts(first))
			block[blockBits+net/64] |= 1 << (net % 64)
		}
		block[net/8] |= value << (net % 8 * 8)
	}
	block[blockBits+4] = before | uint64(len(d.tail))
	leaf := len(d.tail)
	d.tail = append(d.tail, make([]uint64, leafWords*len(d.leaves))...)
	for i := range d.leaves {
		d.leaf(leaf+i*leafWords, &d.leaves[i])
	}
}

// hosts are the classes of a /24, one by one.
func (c *cursor) hosts(first uint64) (list [256]byte) {
	for i := uint64(0); i < 256; {
		next := uint64(256)
		if c.uniform(first+i, first+255); len(c.spans) > 0 {
			next = min(next, c.spans[0].From.Lo-first)
		}
		for ; i < next; i++ {
			list[i] = c.class
		}
	}
	return list
}

// leaf draws a /24: bits where there are two classes, a page of bytes where there are more.
func (d *drawing) leaf(at int, hosts *[256]byte) {
	zero, one := hosts[0], hosts[0]
	for i, class := range hosts {
		switch class {
		case zero:
			continue
		case one:
		default:
			if one != zero {
				d.page(at, hosts)
				return
			}
			one = class
		}
		d.tail[at+i/64] |= 1 << (i % 64)
	}
	d.tail[at+4] = uint64(zero) | uint64(one)<<8
}

func (d *drawing) page(leaf int, hosts *[256]byte) {
	d.pages = append(d.pages, leaf+4)
	d.tail[leaf+4] = uint64(len(d.tail)) << 32
	page := make([]uint64, pageWords)
	for i, class := range hosts {
		page[i/8] |= uint64(class) << (i % 8 * 8)
	}
	d.tail = append(d.tail, page...)
}

// places6 are the networks of 64 bits where the class changes, and what begins there.
func (d *drawing) places6(spans []lists.Span) (places []uint64, values []uint32, err error) {
	put := func(high uint64, value uint32) {
		if n := len(places); n > 0 && places[n-1] == high {
			values[n-1] = value
			return
		}
		places, values = append(places, high), append(values, value)
	}
	class := uint8(0) // of what lies before the span
	for i := 0; i < len(spans); {
		high := spans[i].From.Hi
		within := []lists.Span{{Class: class}}
		for ; i < len(spans) && spans[i].From.Hi == high; i++ {
			class = spans[i].Class
			if spans[i].From.Lo == 0 {
				within[0].Class = class
				continue
			}
			within = append(within, lists.Span{From: lists.Key{Lo: spans[i].From.Lo}, Class: class})
		}
		if len(within) == 1 {
			put(high, uint32(within[0].Class))
			continue
		}
		if len(within) > listWithin {
			return nil, nil, fmt.Errorf("a network of 64 bits has %d rules within, at most %d are possible", len(within), listWithin)
		}
		put(high, listDeep|uint32(len(d.tail)))
		d.within(within)
		if high != math.MaxUint64 {
			put(high+1, uint32(class))
		}
	}
	return places, values, nil
}

func (d *drawing) within(spans []lists.Span) {
	d.tail = append(d.tail, uint64(len(spans)))
	for _, s := range spans {
		d.tail = append(d.tail, s.From.Lo)
	}
	bytes := make([]uint64, (len(spans)+7)/8)
	for i, s := range spans {
		bytes[i/8] |= uint64(s.Class) << (i % 8 * 8)
	}
	d.tail = append(d.tail, bytes...)
}

// plant draws the tree of places. A node has eight places and nine nodes below; the level with all places is the last.
func (d *drawing) plant(places []uint64, values []uint32, base int) {
	if len(places) == 0 {
		return
	}
	levels := [][]uint64{filled(places)}
	first := make([]uint64, 0, len(levels[0])/lineWords) // the first place below each node of the level
	for at := 0; at < len(levels[0]); at += lineWords {
		first = append(first, levels[0][at])
	}
	for len(first) > 1 {
		var level, above []uint64
		for at := 0; at < len(first); at += 9 {
			children := first[at:min(at+9, len(first))]
			level = append(level, filled(children[1:])...)
			if len(children) == 1 {
				level = append(level, filled([]uint64{math.MaxUint64})...)
			}
			above = append(above, children[0])
		}
		levels, first = append(levels, level), above
	}
	head := bpfListHead{Depth: uint32(len(levels))}
	for i := range levels {
		head.Level[i] = uint32((base + len(d.tree)) / lineWords)
		d.tree = append(d.tree, levels[len(levels)-1-i]...)
	}
	head.Values = uint32((base + len(d.tree)) / lineWords)
	numbers := make([]uint64, (len(values)+15)/16*lineWords)
	for i, v := range values {
		numbers[i/2] |= uint64(v) << (i % 2 * 32)
	}
	d.tree = append(d.tree, numbers...)
	d.head[0] = uint64(head.Depth) | uint64(head.Values)<<32
	for i, line := range head.Level {
		d.head[1+i/2] |= uint64(line) << (i % 2 * 32)
	}
}

// filled is a list in whole lines, with what no place lies behind.
func filled(list []uint64) []uint64 {
	whole := make([]uint64, (len(list)+lineWords-1)/lineWords*lineWords)
	for i := range whole[copy(whole, list):] {
		whole[len(list)+i] = math.MaxUint64
	}
	return whole
}
