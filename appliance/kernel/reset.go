package kernel

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"
)

// sendResets tells both ends of a session that it is over. An end takes an RST with exactly the number that it expects next
// (RFC 5961, 3.2): that is what it acknowledged last, unless more is under way. Then it says so, to the box, whose stack knows
// no such connection and answers with an RST as that end wants it.
func sendResets(s *bpfSession) error {
	c, o := &s.Side[client], &s.Side[originSide]
	shift := s.Shift + uint32(s.HeaderLength)
	err := sendReset(addrPort(c.Own, c.OwnPort), addrPort(c.Address, c.Port), c.Ack, c.Next)
	if s.State == stateSYN { // to its SYN, which it may not have seen
		return errors.Join(err, sendReset(addrPort(o.Own, o.OwnPort), addrPort(o.Address, o.Port), s.Isn+s.Shift+1, 0))
	}
	return errors.Join(err, sendReset(addrPort(o.Own, o.OwnPort), addrPort(o.Address, o.Port), o.Ack+shift, o.Next))
}

// sendReset sends one RST with these numbers.
func sendReset(from, to netip.AddrPort, seq, ack uint32) error {
	packet := reset(from, to, seq, ack)
	family, level, option := unix.AF_INET, unix.SOL_IP, unix.IP_HDRINCL
	var address unix.Sockaddr
	if to.Addr().Is4() {
		address = &unix.SockaddrInet4{Addr: to.Addr().As4()}
	} else {
		family, level, option = unix.AF_INET6, unix.SOL_IPV6, unix.IPV6_HDRINCL
		address = &unix.SockaddrInet6{Addr: to.Addr().As16()}
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return fmt.Errorf("open a socket for RST: %w", err)
	}
	err = unix.SetsockoptInt(fd, level, option, 1)
	if err == nil {
		err = unix.Sendto(fd, packet, unix.MSG_DONTWAIT, address)
	}
	if err = errors.Join(err, unix.Close(fd)); err != nil {
		return fmt.Errorf("send RST to %s: %w", to, err)
	}
	return nil
}

const (
	hopLimit  = 64
	tcpHeader = 20
)

// reset writes an IP packet with a TCP header of RST and ACK (RFC 9293, 3.1).
func reset(from, to netip.AddrPort, seq, ack uint32) []byte {
	tcp := make([]byte, 0, tcpHeader)
	tcp = binary.BigEndian.AppendUint16(tcp, from.Port())
	tcp = binary.BigEndian.AppendUint16(tcp, to.Port())
	tcp = binary.BigEndian.AppendUint32(tcp, seq)
	tcp = binary.BigEndian.AppendUint32(tcp, ack)
	tcp = append(tcp, tcpHeader/4<<4, 0x14, 0, 0, 0, 0, 0, 0) // length, RST and ACK; window, checksum, urgent
	sum := checksum(0, from.Addr().AsSlice())
	sum = checksum(sum, to.Addr().AsSlice())
	sum = checksum(sum, []byte{0, protocolTCP, 0, tcpHeader})
	binary.BigEndian.PutUint16(tcp[16:], ^fold(checksum(sum, tcp)))

	if to.Addr().Is4() {
		ip := []byte{0x45, 0, 0, 20 + tcpHeader, 0, 0, 0x40, 0, hopLimit, protocolTCP, 0, 0} // the kernel sums it up
		ip = append(append(ip, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
		return append(ip, tcp...)
	}
	ip := []byte{0x60, 0, 0, 0, 0, tcpHeader, protocolTCP, hopLimit}
	ip = append(append(ip, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	return append(ip, tcp...)
}

// checksum adds words to a ones' complement sum (RFC 1071). data has an even length.
func checksum(sum uint32, data []byte) uint32 {
	for word := range slices.Chunk(data, 2) {
		sum += uint32(binary.BigEndian.Uint16(word))
	}
	return sum
}

func fold(sum uint32) uint16 {
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return uint16(sum) //nolint:gosec // folded
}
