//go:build e2e

package kernel

import (
	"encoding/binary"
	"math/bits"
	"testing"
)

// sipHash is SipHash-2-4 of words of 8 bytes, as its paper has it; the last word has the length in its upper byte.
func sipHash(key [2]uint64, words ...uint64) uint64 {
	v0, v1 := key[0]^0x736f6d6570736575, key[1]^0x646f72616e646f6d
	v2, v3 := key[0]^0x6c7967656e657261, key[1]^0x7465646279746573
	round := func() {
		v0 += v1
		v1 = bits.RotateLeft64(v1, 13) ^ v0
		v0 = bits.RotateLeft64(v0, 32)
		v2 += v3
		v3 = bits.RotateLeft64(v3, 16) ^ v2
		v0 += v3
		v3 = bits.RotateLeft64(v3, 21) ^ v0
		v2 += v1
		v1 = bits.RotateLeft64(v1, 17) ^ v2
		v2 = bits.RotateLeft64(v2, 32)
	}
	for _, w := range words {
		v3 ^= w
		round()
		round()
		v0 ^= w
	}
	v2 ^= 0xff
	for range 4 {
		round()
	}
	return v0 ^ v1 ^ v2 ^ v3
}

// TestSipHash: the model is right about the example in the appendix of the paper.
func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	// Bytes 0 to 14: the words 07..00 and 0e..08, with the length 15.
	if got, want := sipHash(key, 0x0706050403020100, 0x0f0e0d0c0b0a0908), uint64(0xa129ca6149be45e5); got != want {
		t.Errorf("the hash is %016x, want %016x", got, want)
	}
}

// cookieOf is what the program answers to a SYN, and what it says in the timestamp.
func cookieOf(s *bpfCookieState, p packet, epoch uint64, data uint8, stamped bool) (cookie, stamp uint32) {
	newer, older := s.Keys[0], s.Keys[1]
	if older.Since > newer.Since {
		newer, older = older, newer
	}
	if newer.Since > epoch {
		newer = older
	}
	b := append(p.from.Addr().AsSlice(), p.to.Addr().AsSlice()...)
	if p.from.Addr().Is4() {
		b = append(p.to.Addr().AsSlice(), p.from.Addr().AsSlice()...)
	}
	var words []uint64
	for ; len(b) > 0; b = b[8:] {
		words = append(words, binary.LittleEndian.Uint64(b))
	}
	ports := uint64(htons(p.from.Port()))<<16 | uint64(htons(p.to.Port()))
	words = append(words, uint64(p.seq)<<32|ports)
	last := epoch<<16 | uint64(data) | uint64(8*len(words)+7)<<56
	if stamped {
		last |= 1 << 8
	}
	hash := sipHash(newer.Key, append(words, last)...)
	return uint32(hash)<<8 | uint32(data), uint32(hash >> 32)
}
