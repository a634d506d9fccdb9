package access

import (
	_ "embed"
	"fmt"
	"strings"
	"unicode/utf8"
)

const (
	minPassword = 12  // characters
	maxPassword = 128 // characters, so that nobody lets the box hash a book
	// minLeft is how many characters of a password must be left when everything is taken out that others would try.
	minLeft = 6
	// minDistinct is how many different characters a password has.
	minDistinct = 5
)

// common are words and passwords that are tried first, one a line, in lower case and the longest first.
//
//go:embed common.txt
var common string

// asLetters undoes the digits and signs that people write for letters.
var asLetters = strings.NewReplacer("0", "o", "1", "i", "3", "e", "4", "a", "5", "s", "7", "t", "@", "a", "$", "s", "!", "i")

// judge refuses a password that is easily guessed, with a *Weak. There are no rules about the kinds of characters
// (OWASP ASVS 6.2).
func judge(password, name string) error {
	count := utf8.RuneCountInString(password)
	switch {
	case !utf8.ValidString(password):
		return &Weak{"The password has bytes that are not text."}
	case count < minPassword:
		return &Weak{fmt.Sprintf("The password needs at least %d characters; it has %d.", minPassword, count)}
	case count > maxPassword:
		return &Weak{fmt.Sprintf("The password may have at most %d characters; it has %d.", maxPassword, count)}
	}
	lower := strings.ToLower(password)
	switch {
	case distinct(lower) < minDistinct:
		return &Weak{fmt.Sprintf("The password repeats itself; it needs at least %d different characters.", minDistinct)}
	case isSequence(lower):
		return &Weak{"The password is a sequence of neighbouring characters."}
	case left(lower, name) < minLeft || left(asLetters.Replace(lower), name) < minLeft:
		return &Weak{"The password is made of words that are tried first. Add words that have nothing to do with this box or with you."}
	}
	return nil
}

// left counts the characters that are in no common word and not in the name.
func left(lower, name string) int {
	if utf8.RuneCountInString(name) >= 3 {
		lower = strings.ReplaceAll(lower, name, "")
	}
	for word := range strings.Lines(common) {
		lower = strings.ReplaceAll(lower, strings.TrimSpace(word), "")
	}
	return utf8.RuneCountInString(strings.Trim(lower, " .,;:-_+*#!?/"))
}

func distinct(text string) int {
	seen := map[rune]bool{}
	for _, r := range text {
		seen[r] = true
	}
	return len(seen)
}

// isSequence tells whether three of four steps lead to a neighbour, as in abcdef or 654321.
func isSequence(text string) bool {
	runes := []rune(text)
	steps := 0
	for i := 1; i < len(runes); i++ {
		if d := runes[i] - runes[i-1]; d >= -1 && d <= 1 {
			steps++
		}
	}
	return 4*steps >= 3*(len(runes)-1)
}
