package header

import (
	"encoding/binary"
	"errors"
	"hash/crc32"

	proxyproto "github.com/pires/go-proxyproto"
)

const tlvHead = 3 // type and length in front of a TLV's value

// addressBlock is the number of bytes of the addresses and ports in a version 2 header of an IP family.
func addressBlock(header []byte) int {
	if header[13]&0xf0 == 0x10 {
		return 4 + 4 + 2 + 2
	}
	return 16 + 16 + 2 + 2
}

// crc32c is the checksum of a complete header, taken as if its four bytes from at on were zero (section 2.2.3).
// It does not write to header: received bytes belong to the caller.
func crc32c(header []byte, at int) uint32 {
	var zero [crc32.Size]byte
	table := crc32.MakeTable(crc32.Castagnoli) // the standard library makes it once and uses the CPU's instruction
	sum := crc32.Update(0, table, header[:at])
	sum = crc32.Update(sum, table, zero[:])
	return crc32.Update(sum, table, header[at+crc32.Size:])
}

// verify compares the checksum of a complete header, when it carries one. Two, or one of another length, leave
// open what was meant and are an error.
func verify(header []byte) error {
	found := 0
	for at := fixedV2 + addressBlock(header); at+tlvHead <= len(header); {
		value := at + tlvHead
		end := value + int(binary.BigEndian.Uint16(header[at+1:]))
		if proxyproto.PP2Type(header[at]) == proxyproto.PP2_TYPE_CRC32C {
			if found != 0 || end != value+crc32.Size || end > len(header) {
				return errors.New("the CRC32C field is not there once with 4 bytes")
			}
			found = value
		}
		at = end
	}
	if found != 0 && binary.BigEndian.Uint32(header[found:]) != crc32c(header, found) {
		return errors.New("the CRC32C checksum does not match")
	}
	return nil
}
