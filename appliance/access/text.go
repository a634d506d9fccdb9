package access

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// nameForm is what accounts and tokens may be called: names are shown in tables and are part of URLs.
var nameForm = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// fold makes what a person typed the name of an account: names are kept in lower case, since nobody knows which letters
// were large when the account was made.
func fold(name string) string { return strings.ToLower(strings.TrimSpace(name)) }

// accountName is the folded name, or ErrAccountName.
func accountName(name string) (string, error) {
	name = fold(name)
	if !nameForm.MatchString(name) || name == localName {
		return "", ErrAccountName
	}
	return name, nil
}

// clean makes text of a stranger harmless and short: what does not print (control characters, invalid UTF-8, marks that
// turn the direction of writing) is written as an escape, so that one line stays one line and looks like what it is.
func clean(text string, limit int) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRuneInString(text[i:])
		piece := text[i : i+size]
		switch {
		case r == utf8.RuneError && size == 1:
			piece = fmt.Sprintf(`\x%02x`, text[i])
		case !unicode.IsPrint(r):
			piece = fmt.Sprintf(`\u%04x`, r)
		}
		if b.Len()+len(piece) > limit {
			b.WriteString("…")
			break
		}
		b.WriteString(piece)
		i += size
	}
	return b.String()
}
