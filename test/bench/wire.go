package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/sys/unix"
)

// Both ends speak in frames of 64 bytes, the size of a small game message. The origin echoes every frame except
// opDownload, which it answers with that many bytes, and opUpload, which it echoes after that many bytes came.
const (
	frameSize = 64

	opHello    = 'H' // first frame of a connection: says which addresses the client sees
	opMessage  = 'M'
	opDownload = 'D'
	opUpload   = 'U'
)

// frame is one message. Bytes: 0 op, 8-15 length, 16-21 the client's address and port, 22-27 the dialled ones.
type frame [frameSize]byte

func newFrame(op byte, length int64) *frame {
	f := &frame{op}
	binary.BigEndian.PutUint64(f[8:], uint64(length))
	return f
}

func (f *frame) length() int64 { return int64(binary.BigEndian.Uint64(f[8:])) }

// setAddresses writes what the client sees; both are in network byte order already.
func (f *frame) setAddresses(client, dialled *unix.RawSockaddrInet4) {
	putAddress(f[16:22], client)
	putAddress(f[22:28], dialled)
}

func putAddress(b []byte, a *unix.RawSockaddrInet4) {
	copy(b, a.Addr[:])
	binary.NativeEndian.PutUint16(b[4:], a.Port)
}

func (f *frame) addresses() (client, dialled netip.AddrPort) {
	return wireAddress(f[16:20], f[20:22]), wireAddress(f[22:26], f[26:28])
}

func wireAddress(addr, port []byte) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr)), binary.BigEndian.Uint16(port))
}

// Header is the PROXY header that a target puts in front of a connection.
type Header string

// The headers. nginx 1.22 cannot send v2.
const (
	HeaderNone Header = "none"
	HeaderV1   Header = "v1"
	HeaderV2   Header = "v2"
)

var (
	errNoHeader   = errors.New("no PROXY header where one must be")
	v2Signature   = []byte("\r\n\r\n\x00\r\nQUIT\n")
	v2HeaderFixed = 16
)

// parseHeader reads the PROXY header that want names from the first bytes of a connection. size 0 without an
// error: more bytes are needed. It is not the parser of the product: a mistake there must show here.
// (haproxy doc/proxy-protocol.txt sections 2.1 and 2.2; TCP over IPv4 only)
func parseHeader(want Header, b []byte) (source, destination netip.AddrPort, size int, err error) {
	if want == HeaderV1 {
		return parseV1(b)
	}
	return parseV2(b)
}

func parseV1(b []byte) (source, destination netip.AddrPort, size int, err error) {
	const longest = 107
	if n := min(len(b), 6); string(b[:n]) != "PROXY "[:n] {
		return source, destination, 0, errNoHeader
	}
	end := bytes.Index(b, []byte("\r\n"))
	if end < 0 && len(b) < longest {
		return source, destination, 0, nil
	}
	fields := strings.Fields(string(b[:max(end, 0)]))
	if len(fields) != 6 || fields[1] != "TCP4" {
		return source, destination, 0, fmt.Errorf("bad PROXY v1 line %q", b[:min(len(b), longest)])
	}
	source, err = netip.ParseAddrPort(fields[2] + ":" + fields[4])
	if err != nil {
		return source, destination, 0, fmt.Errorf("PROXY v1 source: %w", err)
	}
	destination, err = netip.ParseAddrPort(fields[3] + ":" + fields[5])
	if err != nil {
		return source, destination, 0, fmt.Errorf("PROXY v1 destination: %w", err)
	}
	return source, destination, end + 2, nil
}

func parseV2(b []byte) (source, destination netip.AddrPort, size int, err error) {
	if n := min(len(b), len(v2Signature)); !bytes.Equal(b[:n], v2Signature[:n]) {
		return source, destination, 0, errNoHeader
	}
	if len(b) < v2HeaderFixed {
		return source, destination, 0, nil
	}
	length := int(binary.BigEndian.Uint16(b[14:16]))
	if b[12] != 0x21 || b[13] != 0x11 || length < 12 || length > 256 {
		return source, destination, 0, fmt.Errorf("bad PROXY v2 header % x", b[12:16])
	}
	size = v2HeaderFixed + length
	if len(b) < size {
		return source, destination, 0, nil
	}
	return wireAddress(b[16:20], b[24:26]), wireAddress(b[20:24], b[26:28]), size, nil
}
