package store

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"

	bolt "go.etcd.io/bbolt"
)

// tokenPrefix makes a token recognisable where it should not be, in a log or a repository.
const tokenPrefix = "breakwater_"

// RoleAdmin may do everything. It is the only role yet.
const RoleAdmin = "admin"

// Errors of CreateToken.
var (
	ErrTokenName   = errors.New("a token's name has 1 to 63 letters, digits, dots, hyphens or underscores and begins with a letter or digit")
	ErrTokenExists = errors.New("a token with this name exists already")
)

// tokenName is what a token may be called: the name is shown in tables and is part of a URL.
var tokenName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// Token lets its bearer use the API. Only the SHA-256 of the secret is kept: 256 random bits need no slower hash.
type Token struct {
	Name    string    `json:"name"`
	Role    string    `json:"role"`
	Created time.Time `json:"created"`
}

type storedToken struct {
	Token
	SHA256 string `json:"sha256"`
}

// CreateToken makes a token and returns its secret, which is not stored and cannot be shown again.
func (s *Store) CreateToken(name string, now time.Time) (Token, string, error) {
	if !tokenName.MatchString(name) {
		return Token{}, "", ErrTokenName
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // documented to never fail
	secret := tokenPrefix + hex.EncodeToString(random)
	t := Token{Name: name, Role: RoleAdmin, Created: now.UTC()}
	record, err := seal(storedToken{t, hashOf(secret)}, nil)
	if err != nil {
		return Token{}, "", fmt.Errorf("write token: %w", err)
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err = s.update(func(tx *bolt.Tx) error {
		bucket := tx.Bucket(bucketTokens)
		if bucket.Get([]byte(name)) != nil {
			return ErrTokenExists
		}
		return bucket.Put([]byte(name), record)
	})
	if err != nil {
		return Token{}, "", fmt.Errorf("write token: %w", err)
	}
	return t, secret, nil
}

// Tokens lists the tokens by name.
func (s *Store) Tokens() ([]Token, error) {
	list := []Token{}
	err := s.eachToken(func(t storedToken) { list = append(list, t.Token) })
	return list, err
}

// DeleteToken revokes a token at once.
func (s *Store) DeleteToken(name string) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.update(func(tx *bolt.Tx) error {
		if tx.Bucket(bucketTokens).Get([]byte(name)) == nil {
			return ErrNotFound
		}
		return tx.Bucket(bucketTokens).Delete([]byte(name))
	})
	if err != nil {
		return fmt.Errorf("delete token %q: %w", name, err)
	}
	return nil
}

// Authenticate finds the token with this secret; ErrNotFound when there is none. It compares with every token and in
// constant time, so that the answer's time tells nothing.
func (s *Store) Authenticate(secret string) (Token, error) {
	hash := []byte(hashOf(secret))
	var found *Token
	err := s.eachToken(func(t storedToken) {
		if subtle.ConstantTimeCompare(hash, []byte(t.SHA256)) == 1 {
			found = &t.Token
		}
	})
	if err != nil {
		return Token{}, err
	}
	if found == nil {
		return Token{}, fmt.Errorf("token: %w", ErrNotFound)
	}
	return *found, nil
}

func (s *Store) eachToken(fn func(storedToken)) error {
	err := s.view(func(tx *bolt.Tx) error {
		return tx.Bucket(bucketTokens).ForEach(func(_, record []byte) error {
			var t storedToken
			if _, err := unseal(record, &t); err != nil {
				return err
			}
			fn(t)
			return nil
		})
	})
	if err != nil {
		return fmt.Errorf("read tokens: %w", err)
	}
	return nil
}

func hashOf(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
