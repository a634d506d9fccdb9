// Package pattern is what test streams are made of: bytes that tell where they belong.
package pattern

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// Fill writes what a stream with this seed has at offset. Each eight bytes are a hash of their place (splitmix64), so
// that any that is lost, doubled or moved shows.
func Fill(b []byte, seed uint64, offset int64) {
	var word [8]byte
	for at := 0; at < len(b); {
		place := offset + int64(at)
		skip := int(place & 7)
		z := seed + uint64(place>>3+1)*0x9e3779b97f4a7c15
		z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
		z = (z ^ z>>27) * 0x94d049bb133111eb
		z ^= z >> 31
		if skip == 0 && at+8 <= len(b) {
			binary.LittleEndian.PutUint64(b[at:], z)
			at += 8
			continue
		}
		binary.LittleEndian.PutUint64(word[:], z)
		at += copy(b[at:], word[skip:])
	}
}

// Check says where got differs from what belongs at offset, and whether it is from near by.
func Check(got []byte, seed uint64, offset int64, want []byte) error {
	want = want[:len(got)]
	Fill(want, seed, offset)
	if bytes.Equal(got, want) {
		return nil
	}
	i := 0
	for got[i] == want[i] {
		i++
	}
	got, want = got[i:min(i+16, len(got))], want[i:min(i+16, len(want))]
	err := fmt.Errorf("wrong byte at %d: got %x, want %x", offset+int64(i), got, want)
	near := make([]byte, len(got))
	for d := int64(1); d <= 1<<17 && len(got) >= 8; d++ {
		for _, at := range []int64{offset + int64(i) + d, offset + int64(i) - d} {
			if at < 0 {
				continue
			}
			if Fill(near, seed, at); bytes.Equal(got, near) {
				return fmt.Errorf("%w, which belongs at %d", err, at)
			}
		}
	}
	return err
}
