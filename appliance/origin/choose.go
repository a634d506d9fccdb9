package origin

import (
	"encoding/binary"
	"math/bits"
	"net/netip"

	"breakwater/appliance/plan"
)

// maxWeight keeps cost times weight within 64 bits: a cost has at most 31 bits.
const maxWeight = 1 << 32

// choose finds the member for w, nil when none is free.
func (v *view) choose(w *wish) *member {
	switch v.choice {
	case plan.RoundRobin:
		return v.next(w)
	case plan.LeastSessions:
		return v.least(w)
	default:
		return v.highest(w)
	}
}

// highest is weighted rendezvous hashing: each origin draws a number from its own hash of the client, and the best
// draw wins. An origin that comes or goes changes only its own draw, so that it moves only its own clients, and an
// origin that is full leaves its clients to the second best. The order in the plan plays no part.
//
// The draw is -log2(u)/weight with u in (0,1) from the hash, the least wins: the time until the first event at the
// rate weight, so that each wins with the probability of its share. (Schindelhauer and Schomaker 2005, "Weighted
// distributed hash tables"; the usual -w/ln(u) is its inverse.) Whole numbers only: every box and every version
// computes the same choice, and a program without floating point, in the kernel, can too.
func (v *view) highest(w *wish) *member {
	client := hashClient(w.client)
	var best *member
	var bestCost, bestHash uint64
	for i := range v.members {
		m := &v.members[i]
		if !m.free(w) {
			continue
		}
		hash := mix(client ^ m.origin.key)
		cost := negativeLog2(hash)
		if best != nil {
			left, right := cost*best.weight, bestCost*m.weight // cost/m.weight and bestCost/best.weight
			if left > right || left == right && hash <= bestHash {
				continue
			}
		}
		best, bestCost, bestHash = m, cost, hash
	}
	return best
}

// next takes the member whose turn it is, or the first free one after it.
func (v *view) next(w *wish) *member {
	n := uint64(len(v.turns))
	for i := range n {
		m := &v.members[v.turns[(w.turn+i)%n]]
		if m.free(w) {
			return m
		}
	}
	return v.first(w)
}

// first finds any free member. The turns are those of the members that were up when they were dealt out; a member
// that is down or up since then may not be among them for a moment.
func (v *view) first(w *wish) *member {
	for i := range v.members {
		if m := &v.members[i]; m.free(w) {
			return m
		}
	}
	return nil
}

// least takes the member with the fewest sessions for its weight, counting the new one. Among equals it goes round.
func (v *view) least(w *wish) *member {
	var best *member
	var bestLoad uint64
	n := uint64(len(v.members))
	for i := range n {
		m := &v.members[(w.turn+i)%n]
		if !m.free(w) {
			continue
		}
		load := uint64(max(m.origin.sessions.Load(), 0)) + 1
		if best == nil || load*best.weight < bestLoad*m.weight {
			best, bestLoad = m, load
		}
	}
	return best
}

// maxTurns bounds the round robin table; weights beyond it are rounded.
const maxTurns = 1024

// deal makes the order of a smooth weighted round robin (as nginx does): with the weights 5, 1, 1 it is a a b a c a a.
// Each round, every member gains its weight, and the one with the most pays the sum.
func deal(members []member) []int32 {
	weights, sum := turnWeights(members)
	turns := make([]int32, 0, sum)
	gained := make([]int64, len(members))
	for range sum {
		best := -1
		for i, weight := range weights {
			gained[i] += weight
			if best < 0 || gained[i] > gained[best] {
				best = i
			}
		}
		gained[best] -= sum
		turns = append(turns, int32(best)) //nolint:gosec // far fewer members
	}
	return turns
}

// turnWeights are the weights in lowest terms. Members that are down get none, unless all are.
func turnWeights(members []member) (weights []int64, sum int64) {
	anyUp := false
	for i := range members {
		anyUp = anyUp || members[i].origin.now.Load().up
	}
	weights = make([]int64, len(members))
	var divisor uint64
	for i := range members {
		if !anyUp || members[i].origin.now.Load().up {
			weights[i] = int64(members[i].weight) //nolint:gosec // at most maxWeight
			divisor = gcd(divisor, members[i].weight)
			sum += weights[i]
		}
	}
	if sum == 0 {
		return weights, 0
	}
	if most := uint64(sum) / maxTurns; divisor < most {
		divisor = most
	}
	sum = 0
	for i, weight := range weights {
		if weight > 0 {
			weights[i] = max(weight/int64(divisor), 1) //nolint:gosec // at most maxWeight
			sum += weights[i]
		}
	}
	return weights, sum
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// hashClient is the same for all ports and protocols of a client, in every process and on every box.
func hashClient(client netip.Addr) uint64 {
	b := client.As16()
	return mix(mix(binary.BigEndian.Uint64(b[:8])) ^ binary.BigEndian.Uint64(b[8:]))
}

// hashText is FNV-1a with 64 bits.
func hashText(text string) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(text) {
		h = (h ^ uint64(text[i])) * 0x100000001b3
	}
	return h
}

// mix is the finalizer of splitmix64: a permutation in which every bit of x reaches every bit of the result.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// logBits are the binary digits behind the point of negativeLog2.
const logBits = 24

// negativeLog2 is -log2(u) for u = h / 2^64, as a fixed-point number. The digits come one by one: squaring the
// mantissa doubles its logarithm, and what passes 2 is a digit 1.
func negativeLog2(h uint64) uint64 {
	h |= 1 // u is never 0
	zeros := bits.LeadingZeros64(h)
	mantissa := h << zeros >> 32 // in [2^31, 2^32), meaning [1, 2)
	var fraction uint64
	for range logBits {
		square := mantissa * mantissa // in [2^62, 2^64)
		digit := square >> 63
		fraction = fraction<<1 | digit
		mantissa = square >> (31 + digit)
	}
	return uint64(zeros+1)<<logBits - fraction //nolint:gosec // zeros is at most 63
}
