package store

import (
	"encoding/hex"
	"net/netip"
	"time"
)

// Token lets its bearer use the API.
type Token struct {
	Sum      Sum            `json:"-"` // of the secret
	Name     string         `json:"name"`
	Role     string         `json:"role"`
	Author   string         `json:"author,omitempty"` // who made it; empty: not known, as before authors were kept
	Created  time.Time      `json:"created"`
	Expires  time.Time      `json:"expires,omitzero"`   // zero: never
	LastUsed time.Time      `json:"lastUsed,omitzero"`  // zero: never
	Networks []netip.Prefix `json:"networks,omitempty"` // where it may be used from; empty: everywhere
}

// storedToken is the record. Schema 1 had the hash in it, and a version that reads no other schema still looks there.
type storedToken struct {
	Token
	SHA256 string `json:"sha256"`
}

// Tokens lists the tokens in no order that means anything.
func (a *AccessTx) Tokens() ([]Token, error) {
	return readAll(a.tx.Bucket(bucketTokens), func(t *Token, key []byte) { t.Sum = Sum(key) })
}

// Token is the token with this secret; ErrNotFound when there is none.
func (a *AccessTx) Token(sum Sum) (Token, error) {
	t, err := read[Token](a.tx.Bucket(bucketTokens), sum[:])
	t.Sum = sum
	return t, err
}

// PutToken stores a token under its sum.
func (a *AccessTx) PutToken(t Token) error {
	return write(a.tx.Bucket(bucketTokens), t.Sum[:], storedToken{t, hex.EncodeToString(t.Sum[:])})
}

// DeleteToken forgets a token; ErrNotFound when there is none.
func (a *AccessTx) DeleteToken(sum Sum) error { return remove(a.tx.Bucket(bucketTokens), sum[:]) }
