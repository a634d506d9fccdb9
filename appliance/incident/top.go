package incident

import (
	"cmp"
	"maps"
	"slices"
)

const (
	// topWidth is how many values a top follows. What makes up more than 1/topWidth of all is among them for certain.
	topWidth = 128
	// topShown is how many are told.
	topShown = 20
)

// top counts the most frequent of any number of values in bounded memory: the space-saving algorithm (Metwally, Agrawal,
// El Abbadi: Efficient Computation of Frequent and Top-k Elements in Data Streams, 2005). The zero value is empty.
type top struct {
	counts map[string]*Count
	total  uint64
}

func (t *top) add(value string) {
	t.total++
	if c, known := t.counts[value]; known {
		c.Count++
		return
	}
	if t.counts == nil {
		t.counts = make(map[string]*Count, topWidth)
	}
	c := &Count{Value: value, Count: 1}
	if len(t.counts) >= topWidth {
		least := t.least()
		delete(t.counts, least.Value)
		c.Count, c.Error = least.Count+1, least.Count
	}
	t.counts[value] = c
}

// least is the rarest; of several the one that comes first, so that the same samples give the same counts.
func (t *top) least() *Count {
	var least *Count
	for _, c := range t.counts {
		if least == nil || c.Count < least.Count || c.Count == least.Count && c.Value < least.Value {
			least = c
		}
	}
	return least
}

// list is the most frequent, the first of them first.
func (t *top) list() []Count {
	list := make([]Count, 0, len(t.counts))
	for c := range maps.Values(t.counts) {
		list = append(list, *c)
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Error, b.Error), cmp.Compare(a.Value, b.Value))
	})
	return list[:min(len(list), topShown)]
}
