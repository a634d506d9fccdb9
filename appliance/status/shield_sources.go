package status

import (
	"cmp"
	"slices"
)

// SourceKind is what a rule about addresses was made of.
type SourceKind string

// The kinds, in the order of their weight.
const (
	SourceOwn     SourceKind = "own" // by hand: protected, allow, bans, deny
	SourceList    SourceKind = "list"
	SourceNetwork SourceKind = "network" // AS number
	SourceCountry SourceKind = "country"
)

// SourceCounter counts the packets whose source address a rule holds, since edge started.
type SourceCounter struct {
	Kind    SourceKind `json:"kind"`
	Name    string     `json:"name"`
	Packets uint64     `json:"packets"`
}

var sourceWeights = map[SourceKind]int{SourceOwn: 0, SourceList: 1, SourceNetwork: 2, SourceCountry: 3}

// SortSources orders by kind, then by name.
func SortSources(list []SourceCounter) {
	slices.SortFunc(list, func(a, b SourceCounter) int {
		return cmp.Or(cmp.Compare(sourceWeights[a.Kind], sourceWeights[b.Kind]), cmp.Compare(a.Name, b.Name))
	})
}
