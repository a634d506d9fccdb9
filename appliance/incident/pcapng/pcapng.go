// Package pcapng writes the packets that the shield picked out as a capture file that Wireshark and tcpdump open:
//
//	err := pcapng.Write(w, "Breakwater 1.2", samples)
//
// The format is that of draft-ietf-opsawg-pcapng: one section, an interface for each of the box's, and a packet block for
// each packet with its verdict, reason, service and vector as a comment.
package pcapng

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"breakwater/appliance/status"
)

// Block types and option codes, sections 3.5 and 4 of the draft.
const (
	blockSection   = 0x0a0d0d0a
	blockInterface = 1
	blockPacket    = 6

	magic    = 0x1a2b3c4d
	ethernet = 1 // LINKTYPE_ETHERNET

	optionEnd        = 0
	optionComment    = 1
	optionName       = 2 // of an interface
	optionResolution = 9 // of times, of an interface
	optionProgram    = 4 // of a section
)

// nanoseconds is the resolution of times: a power of ten, negated.
const nanoseconds = 9

// Write writes a whole file. program is what wrote it.
func Write(w io.Writer, program string, packets []status.Sample) error {
	names := []string{}
	for _, p := range packets {
		if !slices.Contains(names, p.Interface) {
			names = append(names, p.Interface)
		}
	}
	b := section(program)
	for _, name := range names {
		b = append(b, network(name)...)
	}
	if _, err := w.Write(b); err != nil {
		return fmt.Errorf("write capture: %w", err)
	}
	for _, p := range packets {
		if _, err := w.Write(packet(slices.Index(names, p.Interface), p)); err != nil {
			return fmt.Errorf("write capture: %w", err)
		}
	}
	return nil
}

// section is a Section Header Block of version 1.0 and unknown length.
func section(program string) []byte {
	body := order.AppendUint32(nil, magic)
	body = order.AppendUint16(body, 1)
	body = order.AppendUint16(body, 0)
	body = order.AppendUint64(body, 1<<64-1)
	return block(blockSection, option(option(body, optionProgram, []byte(program)), optionEnd, nil))
}

// network is an Interface Description Block.
func network(name string) []byte {
	body := order.AppendUint32(nil, ethernet) // and two bytes that are reserved
	body = order.AppendUint32(body, status.MaxSample)
	body = option(body, optionName, []byte(name))
	body = option(body, optionResolution, []byte{nanoseconds})
	return block(blockInterface, option(body, optionEnd, nil))
}

// packet is an Enhanced Packet Block.
func packet(network int, p status.Sample) []byte {
	at := uint64(max(0, p.Time.UnixNano())) //nolint:gosec // not negative
	body := order.AppendUint32(nil, uint32(network))
	body = order.AppendUint32(body, uint32(at>>32))
	body = order.AppendUint32(body, uint32(at)) //nolint:gosec // the lower half
	body = order.AppendUint32(body, uint32(len(p.Bytes)))
	body = order.AppendUint32(body, uint32(max(p.Length, len(p.Bytes))))
	body = pad(append(body, p.Bytes...))
	return block(blockPacket, option(option(body, optionComment, []byte(comment(p))), optionEnd, nil))
}

func comment(p status.Sample) string {
	service := p.Service
	if service == "" {
		service = "none"
	}
	return fmt.Sprintf("%s, %s, service %s, vector %s", p.Verdict, p.Reason, service, p.Vector)
}

var order = binary.LittleEndian

// block puts the length of a block in front and behind.
func block(kind uint32, body []byte) []byte {
	length := uint32(len(body) + 12)
	b := order.AppendUint32(make([]byte, 0, length), kind)
	b = append(order.AppendUint32(b, length), body...)
	return order.AppendUint32(b, length)
}

// option appends an option; the text of one is cut to what its length can say.
func option(b []byte, code uint16, value []byte) []byte {
	value = value[:min(len(value), 1<<16-4)]
	b = order.AppendUint16(b, code)
	b = order.AppendUint16(b, uint16(len(value)))
	return pad(append(b, value...))
}

// pad fills up to 32 bits.
func pad(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }
