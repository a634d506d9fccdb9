package main

import "slices"

// summary is what a table shows of a value over the rounds. N 0: there is no value.
type summary struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
	N      int     `json:"n"`
}

func summarize(values []float64) summary {
	if len(values) == 0 {
		return summary{}
	}
	sorted := slices.Sorted(slices.Values(values))
	n := len(sorted)
	return summary{Median: (sorted[(n-1)/2] + sorted[n/2]) / 2, Min: sorted[0], Max: sorted[n-1], N: n}
}

// resolved says whether a value that is itself a difference stands out of its noise: every round has its sign,
// and the rounds lie closer together than it is large.
func (s summary) resolved() bool { return s.N > 0 && s.Min > 0 && s.Max-s.Min <= s.Median }

// series is a value by round; rounds that failed have none.
type series map[int]float64

func (s series) values() []float64 {
	var values []float64
	for _, v := range s {
		values = append(values, v)
	}
	return values
}

// pair combines the rounds that both have. Machines drift: only values of one round are ever compared.
func pair(a, b series, combine func(a, b float64) float64) series {
	both := series{}
	for round, v := range a {
		if w, ok := b[round]; ok {
			both[round] = combine(v, w)
		}
	}
	return both
}

func minus(a, b series) series { return pair(a, b, func(a, b float64) float64 { return a - b }) }

func over(a, b series) series { return pair(a, b, func(a, b float64) float64 { return a / b }) }
