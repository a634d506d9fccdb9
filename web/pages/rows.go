package pages

import (
	"net/url"
	"strconv"
)

// rows are those of a form that show the elements of a list of the document: one can add some, take some away and move them,
// without scripts, as the form tells how many there are.
type rows struct {
	list   string   // its path in the document
	input  string   // that tells how many rows there are
	fields []string // the inputs of a row
	least  int
	most   int
}

// count is how many there are.
func (r rows) count(values url.Values) int {
	n, err := strconv.Atoi(values.Get(r.input))
	if err != nil {
		return r.least
	}
	return min(max(n, r.least), r.most)
}

// add puts an empty one behind the others.
func (r rows) add(values url.Values) {
	values.Set(r.input, strconv.Itoa(min(r.count(values)+1, r.most)))
}

// keep leaves those that wanted tells, by their path and from 0; those behind the others move up.
func (r rows) keep(values url.Values, wanted func(row string, number int) bool) {
	var order []int
	for i := range r.count(values) {
		if wanted(elementAt(r.list, i), i) {
			order = append(order, i)
		}
	}
	r.reorder(values, order)
}

// remove takes away the one with a number, which counts from 1 and is as it was typed.
func (r rows) remove(values url.Values, number string) {
	r.keep(values, func(_ string, i int) bool { return strconv.Itoa(i+1) != number })
}

// reorder makes row order[i] of before the i-th.
func (r rows) reorder(values url.Values, order []int) {
	before := make(url.Values)
	for i := range r.count(values) {
		for _, field := range r.fields {
			name := elementAt(r.list, i) + "." + field
			before[name] = values[name]
			values.Del(name)
		}
	}
	for to, from := range order {
		for _, field := range r.fields {
			if typed := before[elementAt(r.list, from)+"."+field]; typed != nil {
				values[elementAt(r.list, to)+"."+field] = typed
			}
		}
	}
	values.Set(r.input, strconv.Itoa(max(r.least, len(order))))
}
