package access

import "strings"

// codeAlphabet is Crockford's base32: without I, L, O and U, since codes are read from a screen and typed.
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

const (
	codeGroup      = 4 // characters between hyphens, 20 bits
	setupGroups    = 3 // 60 bits: 20 attempts are allowed
	recoveryGroups = 4 // 80 bits: its hash may be stolen and tried without end
)

// newCode is a random code like "7Q2M-K0ZD-94XA".
func newCode(groups int) string {
	var b strings.Builder
	for i, r := range newRandom(groups * codeGroup) {
		if i > 0 && i%codeGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteByte(codeAlphabet[r%byte(len(codeAlphabet))]) // 256 is a multiple of 32
	}
	return b.String()
}

// readCode is a code as newCode would have written it, whatever its case, hyphens and spaces, and with the letters that
// are taken for digits corrected. It is empty when text is not a code of so many groups.
func readCode(text string, groups int) string {
	if len(text) > 64 {
		return ""
	}
	var b strings.Builder
	count := 0
	for _, r := range strings.ToUpper(text) {
		switch r {
		case '-', ' ':
			continue
		case 'O':
			r = '0'
		case 'I', 'L':
			r = '1'
		}
		if !strings.ContainsRune(codeAlphabet, r) {
			return ""
		}
		if count > 0 && count%codeGroup == 0 {
			b.WriteByte('-')
		}
		b.WriteRune(r)
		count++
	}
	if count != groups*codeGroup {
		return ""
	}
	return b.String()
}
