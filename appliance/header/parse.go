package header

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	proxyproto "github.com/pires/go-proxyproto"
)

// Parse reads the PROXY header at the beginning of a TCP stream, of which buf is all that has come so far; n is its
// length. n == 0 without an error means that buf is the beginning of a header: call again with more bytes.
// What cannot become a valid header is an error as soon as that is certain.
func Parse(buf []byte) (h Header, n int, err error) {
	n, err = complete(buf)
	if err == nil && n > 0 {
		h, err = decode(buf[:n], proxyproto.AddressFamilyAndProtocol.IsStream)
	}
	if err != nil {
		return Header{}, 0, fmt.Errorf("read a PROXY header: %w", err)
	}
	return h, n, nil
}

// ParseDatagram reads the version 2 header in front of a datagram's payload, which aliases d and may be empty.
// A datagram has no more bytes to wait for, so an incomplete header is an error too.
func ParseDatagram(d []byte) (h Header, payload []byte, err error) {
	n, err := completeV2(d)
	switch {
	case err != nil:
	case n == 0:
		err = errors.New("the datagram ends inside the header")
	default:
		h, err = decode(d[:n], proxyproto.AddressFamilyAndProtocol.IsDatagram)
	}
	if err != nil {
		return Header{}, nil, fmt.Errorf("read a PROXY header: %w", err)
	}
	return h, d[n:], nil
}

// complete is the length of the header that buf begins with, 0 while it is not all there. The library is not asked:
// it takes a short read for a broken header, and "PROX" for the first bytes of something else.
func complete(buf []byte) (int, error) {
	if len(buf) > 0 && buf[0] == signature[0] {
		return completeV2(buf)
	}
	return completeV1(buf)
}

func completeV1(buf []byte) (int, error) {
	if !begins(buf, lineV1) {
		return 0, errors.New("the first bytes are no PROXY header")
	}
	line := buf[:min(len(buf), maxV1)]
	for i, c := range line {
		if c == '\r' && i+1 < len(line) && line[i+1] == '\n' {
			return i + 2, nil
		}
		last := i == len(buf)-1 // so that the line feed may still come
		if c > '~' || c < ' ' && !(c == '\r' && last) {
			return 0, fmt.Errorf("byte %#02x in the line", c)
		}
	}
	if len(line) == maxV1 {
		return 0, fmt.Errorf("no end of line within %d bytes", maxV1)
	}
	return 0, nil
}

func completeV2(buf []byte) (int, error) {
	if !begins(buf, signature) {
		return 0, errors.New("the first bytes are no PROXY header")
	}
	if len(buf) > 12 && buf[12] != byte(proxyproto.LOCAL) && buf[12] != byte(proxyproto.PROXY) {
		return 0, fmt.Errorf("version and command %#02x", buf[12])
	}
	if len(buf) < fixedV2 {
		return 0, nil
	}
	size := fixedV2 + int(binary.BigEndian.Uint16(buf[14:]))
	if size > MaxSize {
		return 0, fmt.Errorf("a header of %d bytes, at most %d are allowed", size, MaxSize)
	}
	if len(buf) < size {
		return 0, nil
	}
	return size, nil
}

// begins tells whether buf starts with text, or is itself the start of text.
func begins(buf []byte, text string) bool {
	n := min(len(buf), len(text))
	return string(buf[:n]) == text[:n]
}

// decode reads a complete header, byte for byte the whole of it. transport says which of the families fit.
func decode(whole []byte, transport func(proxyproto.AddressFamilyAndProtocol) bool) (Header, error) {
	raw, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(whole), len(whole)))
	if err != nil {
		return Header{}, err
	}
	h := Header{Version: int(raw.Version), Local: raw.Command.IsLocal()}
	if h.Local { // the rest must be skipped, whatever it is
		return h, nil
	}
	if !transport(raw.TransportProtocol) || raw.TransportProtocol.IsUnix() {
		return Header{}, fmt.Errorf("family and protocol %#02x do not fit", byte(raw.TransportProtocol))
	}
	if h.Source, h.Destination, err = addresses(raw); err != nil || h.Version == 1 {
		return h, err
	}
	if err := verify(whole); err != nil {
		return Header{}, err
	}
	return h, h.readTLVs(raw)
}

func addresses(raw *proxyproto.Header) (src, dst netip.AddrPort, err error) {
	srcIP, dstIP, ok := raw.IPs()
	srcPort, dstPort, ok2 := raw.Ports()
	from, ok3 := netip.AddrFromSlice(srcIP)
	to, ok4 := netip.AddrFromSlice(dstIP)
	if !ok || !ok2 || !ok3 || !ok4 {
		return src, dst, errors.New("no IP addresses")
	}
	src = netip.AddrPortFrom(from.Unmap(), uint16(srcPort)) //nolint:gosec // the library read 16 bits
	dst = netip.AddrPortFrom(to.Unmap(), uint16(dstPort))   //nolint:gosec // the library read 16 bits
	return src, dst, nil
}

// readTLVs takes the fields we pass on. Others are allowed and ignored; the last of two of a kind counts.
func (h *Header) readTLVs(raw *proxyproto.Header) error {
	list, err := raw.TLVs()
	if err != nil {
		return err
	}
	for _, t := range list {
		switch {
		case t.Type == proxyproto.PP2_TYPE_AUTHORITY && len(t.Value) > MaxAuthority:
			return fmt.Errorf("an authority of %d bytes, at most %d are allowed", len(t.Value), MaxAuthority)
		case t.Type == proxyproto.PP2_TYPE_AUTHORITY:
			h.Authority = string(t.Value)
		case t.Type == proxyproto.PP2_TYPE_UNIQUE_ID && len(t.Value) > MaxUniqueID:
			return fmt.Errorf("a unique id of %d bytes, at most %d are allowed", len(t.Value), MaxUniqueID)
		case t.Type == proxyproto.PP2_TYPE_UNIQUE_ID:
			h.UniqueID = t.Value
		}
	}
	return nil
}
