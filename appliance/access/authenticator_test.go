package access

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
)

// authenticator is a passkey provider with one credential, and the browser around it, as WebAuthn level 3 has them:
// section 6.1 (authenticator data), 6.5.4 (attestation object), 5.8.1 (client data).
type authenticator struct {
	t      *testing.T
	origin string // of the page
	key    *ecdsa.PrivateKey
	id     []byte
	handle []byte // of the user
	count  uint32
	flags  byte
}

const (
	userPresent  = 0x01
	userVerified = 0x04
	attested     = 0x40
)

func newAuthenticator(t *testing.T, origin string) *authenticator {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return &authenticator{t: t, origin: origin, key: key, id: newRandom(16), flags: userPresent | userVerified}
}

var b64 = base64.RawURLEncoding

// clientData is what the browser signs for.
func (a *authenticator) clientData(kind, challenge string) []byte {
	data, err := json.Marshal(map[string]any{"type": kind, "challenge": challenge, "origin": a.origin, "crossOrigin": false})
	must(a.t, err)
	return data
}

// data is the authenticator data for a relying party.
func (a *authenticator) data(rpID string, flags byte) []byte {
	hash := sha256.Sum256([]byte(rpID))
	return binary.BigEndian.AppendUint32(append(hash[:], flags), a.count)
}

// create answers navigator.credentials.create.
func (a *authenticator) create(options []byte) []byte {
	a.t.Helper()
	var o struct {
		PublicKey struct {
			Challenge string
			RP        struct{ ID string }
			User      struct{ ID string }
		}
	}
	must(a.t, json.Unmarshal(options, &o))
	handle, err := b64.DecodeString(o.PublicKey.User.ID)
	must(a.t, err)
	a.handle = handle
	point, err := a.key.PublicKey.Bytes() // 4, x, y
	must(a.t, err)
	cose, err := webauthncbor.Marshal(map[int]any{1: 2, 3: -7, -1: 1, -2: point[1:33], -3: point[33:]})
	must(a.t, err)
	data := append(a.data(o.PublicKey.RP.ID, a.flags|attested), make([]byte, 16)...) // AAGUID
	data = binary.BigEndian.AppendUint16(data, uint16(len(a.id)))
	data = append(append(data, a.id...), cose...)
	object, err := webauthncbor.Marshal(map[string]any{"fmt": "none", "attStmt": map[string]any{}, "authData": data})
	must(a.t, err)
	return a.answer(map[string]any{
		"clientDataJSON":    b64.EncodeToString(a.clientData("webauthn.create", o.PublicKey.Challenge)),
		"attestationObject": b64.EncodeToString(object),
	})
}

// get answers navigator.credentials.get.
func (a *authenticator) get(options []byte) []byte {
	a.t.Helper()
	var o struct {
		PublicKey struct{ Challenge, RPID string }
	}
	must(a.t, json.Unmarshal(options, &o))
	a.count++
	client := a.clientData("webauthn.get", o.PublicKey.Challenge)
	data := a.data(o.PublicKey.RPID, a.flags)
	clientHash := sha256.Sum256(client)
	digest := sha256.Sum256(append(slices.Clip(data), clientHash[:]...))
	signature, err := ecdsa.SignASN1(rand.Reader, a.key, digest[:])
	must(a.t, err)
	return a.answer(map[string]any{
		"clientDataJSON":    b64.EncodeToString(client),
		"authenticatorData": b64.EncodeToString(data),
		"signature":         b64.EncodeToString(signature),
		"userHandle":        b64.EncodeToString(a.handle),
	})
}

func (a *authenticator) answer(response map[string]any) []byte {
	id := b64.EncodeToString(a.id)
	data, err := json.Marshal(map[string]any{"id": id, "rawId": id, "type": "public-key", "clientExtensionResults": map[string]any{}, "response": response})
	must(a.t, err)
	return data
}
