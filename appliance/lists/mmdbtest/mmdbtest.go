// Package mmdbtest writes small files about addresses in the MMDB format, for tests: what the owners of such data publish is
// not ours to ship.
//
//	data := mmdbtest.Write("Test-Country", "free for all", map[string]any{"192.0.2.0/24": mmdbtest.Map{"country": mmdbtest.Map{"iso_code": "DE"}}})
//
// https://maxmind.github.io/MaxMind-DB/ describes the format. Numbers are uint32, texts are shorter than 285 bytes.
package mmdbtest

import (
	"encoding/binary"
	"maps"
	"net/netip"
	"slices"
)

// Map is a record, or a part of one.
type Map map[string]any

// The types of values.
const (
	typeString = 2
	typeMap    = 7
	typeUint16 = 5
	typeUint32 = 6
	typeUint64 = 9
	typeArray  = 11
)

// node is a place of the tree: where zero and one lead to.
type node struct {
	next [2]*node
	data int // offset of a record + 1
}

// Write makes a file of networks and their records.
func Write(kind, description string, networks map[string]any) []byte {
	root := &node{}
	var data []byte
	for _, text := range slices.Sorted(maps.Keys(networks)) {
		at := len(data) + 1
		data = appendValue(data, networks[text])
		root.put(netip.MustParsePrefix(text), at)
	}
	tree := root.write(len(data))
	out := append(tree, make([]byte, 16)...) // between tree and data
	out = append(out, data...)
	out = append(out, "\xab\xcd\xefMaxMind.com"...)
	return appendValue(out, Map{
		"binary_format_major_version": uint16(2), "binary_format_minor_version": uint16(0), "build_epoch": uint64(1_700_000_000),
		"database_type": kind, "description": Map{"en": description}, "ip_version": uint16(6), "languages": []any{"en"},
		"node_count": uint32(len(tree) / 8), "record_size": uint16(32),
	})
}

func (n *node) put(p netip.Prefix, data int) {
	bits, length := p.Addr().As16(), p.Bits()
	if p.Addr().Is4() {
		bits, length = [16]byte{}, length+96 // IPv4 is in ::/96
		a := p.Addr().As4()
		copy(bits[12:], a[:])
	}
	for i := range length {
		side := bits[i/8] >> (7 - i%8) & 1
		if n.next[side] == nil {
			n.next[side] = &node{}
		}
		n = n.next[side]
	}
	n.data = data
}

// write numbers the nodes that lead on, the root first.
func (n *node) write(size int) []byte {
	order := []*node{n}
	number := map[*node]int{n: 0}
	for i := 0; i < len(order); i++ {
		for _, next := range order[i].next {
			if next != nil && next.data == 0 {
				number[next] = len(order)
				order = append(order, next)
			}
		}
	}
	var out []byte
	for _, at := range order {
		for _, next := range at.next {
			value := len(order) // nothing is known
			switch {
			case next != nil && next.data != 0:
				value = len(order) + 16 + next.data - 1
			case next != nil:
				value = number[next]
			}
			out = binary.BigEndian.AppendUint32(out, uint32(value))
		}
	}
	return out
}

func appendValue(out []byte, value any) []byte {
	switch v := value.(type) {
	case string:
		return append(appendHead(out, typeString, len(v)), v...)
	case uint16:
		return binary.BigEndian.AppendUint16(appendHead(out, typeUint16, 2), v)
	case uint32:
		return binary.BigEndian.AppendUint32(appendHead(out, typeUint32, 4), v)
	case uint64:
		return binary.BigEndian.AppendUint64(appendHead(out, typeUint64, 8), v)
	case []any:
		out = appendHead(out, typeArray, len(v))
		for _, e := range v {
			out = appendValue(out, e)
		}
		return out
	case Map:
		out = appendHead(out, typeMap, len(v))
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = appendValue(appendValue(out, key), v[key])
		}
		return out
	}
	panic("a value of this type cannot be written")
}

// appendHead writes type and size. Types above 7 are extended.
func appendHead(out []byte, kind, size int) []byte {
	first, more := kind<<5, []byte(nil)
	if kind > 7 {
		first, more = 0, []byte{byte(kind - 7)}
	}
	if size < 29 {
		return append(append(out, byte(first|size)), more...)
	}
	return append(append(append(out, byte(first|29)), more...), byte(size-29))
}
