package proxy

// slab keeps the sessions or flows of one worker in blocks that never move, with a free list. Each slot has a
// generation, so that an event of a former owner is recognised, and a time at which it wants to be looked at next:
// these times stand apart from the slots, so that the sweep over many idle sessions reads eight bytes of each.
type slab[T any] struct {
	blocks []*block[T]
	free   []uint32
	used   int
}

const blockSize = 256

type block[T any] struct {
	slots      [blockSize]T
	generation [blockSize]uint32
	due        [blockSize]int64 // worker clock, ns; 0: free
}

// take gives a zeroed slot, to be looked at by the sweep at due.
func (s *slab[T]) take(due int64) (index uint32, slot *T, generation uint32) {
	if len(s.free) == 0 {
		first := uint32(len(s.blocks) * blockSize) //nolint:gosec // bounded by the file descriptors
		s.blocks = append(s.blocks, new(block[T]))
		for i := uint32(blockSize); i > 0; i-- {
			s.free = append(s.free, first+i-1)
		}
	}
	index = s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.used++
	b, i := s.blocks[index/blockSize], index%blockSize
	b.due[i] = due
	return index, &b.slots[i], b.generation[i]
}

// at gives the slot of an event, or nil when its owner is gone.
func (s *slab[T]) at(index, generation uint32) *T {
	if int(index/blockSize) >= len(s.blocks) {
		return nil
	}
	b, i := s.blocks[index/blockSize], index%blockSize
	if b.generation[i] != generation || b.due[i] == 0 {
		return nil
	}
	return &b.slots[i]
}

// release frees a slot. The pointer to it must not be used afterwards.
func (s *slab[T]) release(index uint32) {
	b, i := s.blocks[index/blockSize], index%blockSize
	var zero T
	b.slots[i] = zero
	b.generation[i]++
	b.due[i] = 0
	s.used--
	s.free = append(s.free, index)
}

// sooner asks for a look at due at the latest.
func (s *slab[T]) sooner(index uint32, due int64) {
	b, i := s.blocks[index/blockSize], index%blockSize
	b.due[i] = min(b.due[i], due)
}

// sweep calls look for each slot that is due. look returns when to look again, or 0 when it released the slot.
func (s *slab[T]) sweep(now int64, look func(index uint32, slot *T) int64) {
	for n, b := range s.blocks {
		for i := range b.due {
			if b.due[i] == 0 || b.due[i] > now {
				continue
			}
			if next := look(uint32(n*blockSize+i), &b.slots[i]); next != 0 { //nolint:gosec // bounded
				b.due[i] = next
			}
		}
	}
}

// each calls visit for every used slot of one block.
func (s *slab[T]) each(blockIndex int, visit func(index uint32, slot *T)) {
	b := s.blocks[blockIndex]
	for i := range b.due {
		if b.due[i] != 0 {
			visit(uint32(blockIndex*blockSize+i), &b.slots[i]) //nolint:gosec // bounded
		}
	}
}
