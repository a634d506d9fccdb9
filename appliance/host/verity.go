package host

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
)

// veritySuperblock begins a hash partition (veritysetup(8); the kernel's admin-guide/device-mapper/verity.rst). Numbers
// are little-endian.
type veritySuperblock struct {
	Signature [8]byte
	Version   uint32
	Type      uint32 // 1: the salt comes before what is hashed
	UUID      [16]byte
	Algorithm [32]byte
	DataBlock uint32 // bytes
	HashBlock uint32 // bytes
	Blocks    uint64 // of data
	SaltSize  uint16
	_         [6]byte
	Salt      [256]byte
	_         [168]byte
}

const (
	verityBlock = 4096
	// perBlock is how many hashes a block of them holds.
	perBlock = verityBlock / sha256.Size
	// mostBlocks bounds what is read because a superblock says so: 16 GiB of data.
	mostBlocks = 4 << 20
)

// Verify reads a system and its hashes to the end, and compares both with the hash over all (in hexadecimal digits).
// It takes the format that systemd-repart(8) writes by default: SHA-256, blocks of 4096 bytes.
func Verify(data, hashes io.ReaderAt, rootHash string) error {
	want, err := hex.DecodeString(rootHash)
	if err != nil || len(want) != sha256.Size {
		return fmt.Errorf("the hash of the system is no SHA-256 hash: %q", rootHash)
	}
	var s veritySuperblock
	if err := binary.Read(io.NewSectionReader(hashes, 0, int64(binary.Size(s))), binary.LittleEndian, &s); err != nil {
		return fmt.Errorf("read the hashes of the system: %w", err)
	}
	if err := s.check(); err != nil {
		return err
	}
	v := verifier{salt: s.Salt[:s.SaltSize]}
	level, err := v.tree(hashes, levels(s.Blocks), want)
	if err != nil {
		return err
	}
	return v.blocks(data, int64(s.Blocks), 0, level, io.Discard)
}

func (s *veritySuperblock) check() error {
	algorithm, _, _ := bytes.Cut(s.Algorithm[:], []byte{0})
	switch {
	case string(s.Signature[:]) != "verity\x00\x00" || s.Version != 1:
		return errors.New("there are no hashes of the system")
	case s.Type != 1 || string(algorithm) != "sha256" || s.DataBlock != verityBlock || s.HashBlock != verityBlock:
		return errors.New("the hashes of the system are of an unknown format")
	case s.Blocks < 2 || s.Blocks > mostBlocks || int(s.SaltSize) > len(s.Salt):
		return errors.New("the hashes of the system are damaged")
	}
	return nil
}

// levels is how many blocks each level of the tree has, as they follow the superblock's: the single one first.
func levels(blocks uint64) []int64 {
	var list []int64
	for {
		blocks = (blocks + perBlock - 1) / perBlock
		list = append([]int64{int64(blocks)}, list...)
		if blocks == 1 {
			return list
		}
	}
}

type verifier struct{ salt []byte }

// tree checks level by level, and returns the last: the hashes of the data.
func (v *verifier) tree(hashes io.ReaderAt, counts []int64, want []byte) ([]byte, error) {
	at := int64(1) // behind the superblock's
	for _, count := range counts {
		var level bytes.Buffer
		if err := v.blocks(hashes, count, at, want, &level); err != nil {
			return nil, err
		}
		want = level.Bytes()
		at += count
	}
	return want, nil
}

// blocks reads blocks from a first one on, compares the hash of each with the one of its turn, and passes them on.
func (v *verifier) blocks(from io.ReaderAt, count, first int64, want []byte, to io.Writer) error {
	const together = 64 // blocks
	buffer := make([]byte, together*verityBlock)
	h := sha256.New()
	for done := int64(0); done < count; done += together {
		part := buffer[:min(together, count-done)*verityBlock]
		if _, err := from.ReadAt(part, (first+done)*verityBlock); err != nil {
			return fmt.Errorf("read the system: %w", err)
		}
		for i := int64(0); i*verityBlock < int64(len(part)); i++ {
			h.Reset()
			h.Write(v.salt)
			h.Write(part[i*verityBlock : (i+1)*verityBlock])
			begin := (done + i) * sha256.Size
			if !bytes.Equal(h.Sum(nil), want[begin:begin+sha256.Size]) {
				return errors.New("the system is not what it should be: a block of it has another hash")
			}
		}
		if _, err := to.Write(part); err != nil {
			return err
		}
	}
	return nil
}
