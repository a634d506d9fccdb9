package store

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// tokenPrefix makes a token recognisable where it should not be, in a log or a repository.
const tokenPrefix = "breakwater_"

// RoleAdmin may do everything.
const RoleAdmin = "admin"

// Errors of CreateToken.
var (
	ErrTokenName   = errors.New("a token's name has 1 to 63 letters, digits, dots, hyphens or underscores and begins with a letter or digit")
	ErrTokenExists = errors.New("a token with this name exists already")
)

// tokenName is what a token may be called: the name is shown in tables and is part of a URL.
var tokenName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$`)

// CreateToken makes an admin's token and returns its secret, which is not stored and cannot be shown again.
func (s *Store) CreateToken(name string, now time.Time) (Token, string, error) {
	if !tokenName.MatchString(name) {
		return Token{}, "", ErrTokenName
	}
	random := make([]byte, 32)
	_, _ = rand.Read(random) // documented to never fail
	secret := tokenPrefix + hex.EncodeToString(random)
	t := Token{Sum: SumOf(secret), Name: name, Role: RoleAdmin, Created: now.UTC()}
	err := s.UpdateAccess(func(a *AccessTx) error {
		if _, err := a.tokenNamed(name); !errors.Is(err, ErrNotFound) {
			return errors.Join(err, ErrTokenExists)
		}
		return a.PutToken(t)
	})
	if err != nil {
		return Token{}, "", fmt.Errorf("write token: %w", err)
	}
	return t, secret, nil
}

// Tokens lists the tokens.
func (s *Store) Tokens() (list []Token, err error) {
	err = s.ViewAccess(func(a *AccessTx) error { list, err = a.Tokens(); return err })
	return list, err
}

// DeleteToken revokes a token at once.
func (s *Store) DeleteToken(name string) error {
	err := s.UpdateAccess(func(a *AccessTx) error {
		t, err := a.tokenNamed(name)
		if err != nil {
			return err
		}
		return a.DeleteToken(t.Sum)
	})
	if err != nil {
		return fmt.Errorf("delete token %q: %w", name, err)
	}
	return nil
}

// Authenticate finds the token with this secret; ErrNotFound when there is none.
func (s *Store) Authenticate(secret string) (t Token, err error) {
	err = s.ViewAccess(func(a *AccessTx) error { t, err = a.Token(SumOf(secret)); return err })
	if err != nil {
		return Token{}, fmt.Errorf("token: %w", err)
	}
	return t, nil
}

func (a *AccessTx) tokenNamed(name string) (Token, error) {
	list, err := a.Tokens()
	if err != nil {
		return Token{}, err
	}
	for _, t := range list {
		if t.Name == name {
			return t, nil
		}
	}
	return Token{}, ErrNotFound
}
