package pages

import (
	"strings"
)

// fingerprintText writes a fingerprint as browsers do: pairs of capitals with colons between them.
func fingerprintText(hex string) string {
	var pairs []string
	for i := 0; i+1 < len(hex); i += 2 {
		pairs = append(pairs, strings.ToUpper(hex[i:i+2]))
	}
	return strings.Join(pairs, ":")
}
