package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Fingerprint is the SHA-256 of everything in p but its revision, as 64 hex digits. Plans of equal fingerprint ask
// the same of the data plane, whichever settings they come from.
func (p Plan) Fingerprint() string {
	p.Revision = 0
	data, err := json.Marshal(p)
	if err != nil {
		// A Plan holds text, numbers and addresses, which always have a JSON form.
		panic("fingerprint plan: " + err.Error())
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
