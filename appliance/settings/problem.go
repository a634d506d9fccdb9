package settings

import (
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Problem is one thing that is wrong with a document, in words for the operator.
type Problem struct {
	Field string `json:"field"` // such as services[2].ports[0]; empty: the document as a whole
	Text  string `json:"text"`  // one sentence that says what is wrong and what would be right
}

// String writes the field and the text on one line.
func (p Problem) String() string {
	if p.Field == "" {
		return p.Text
	}
	return p.Field + ": " + p.Text
}

// path is the place of a value in a document, written as in Problem.Field.
type path string

func (p path) field(name string) path {
	if p == "" {
		return path(name)
	}
	return p + "." + path(name)
}

func (p path) index(i int) path { return p + "[" + path(strconv.Itoa(i)) + "]" }

func (p path) key(name string) path { return p + "[" + path(name) + "]" }

// report collects problems in the order in which they are found.
type report []Problem

// maxProblems is how many problems one report holds: more than anyone reads, and few enough that a document wrong in
// every byte makes no answer of a hundred megabytes.
const maxProblems = 1000

func (r *report) add(at path, format string, args ...any) {
	if len(*r) == maxProblems {
		*r = append(*r, Problem{Text: fmt.Sprintf("there are more problems than these %d; correct them first", maxProblems)})
	}
	if len(*r) > maxProblems {
		return
	}
	*r = append(*r, Problem{Field: string(at), Text: fmt.Sprintf(format, args...)})
}

// maxQuoted is how many bytes of a value a problem repeats, so that a megabyte in the wrong field stays one sentence.
const maxQuoted = 60

// shorten cuts text to maxQuoted bytes at a rune's edge.
func shorten(text string) string {
	if len(text) <= maxQuoted {
		return text
	}
	cut := maxQuoted
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}

// quote is the form in which problems repeat what the operator wrote.
func quote(text string) string { return strconv.Quote(shorten(text)) }
