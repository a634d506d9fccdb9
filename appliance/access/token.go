package access

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"net/netip"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/store"
)

const (
	// tokenPrefix and the checksum let scanners of repositories and logs tell a token from chance.
	tokenPrefix   = "bw_"
	tokenBody     = 43 // characters of base62, 256 bits
	tokenChecksum = 6  // characters of base62, the CRC-32 of the body

	maxTokens   = 500
	maxNetworks = 64 // of one token
)

// Token lets its bearer use the API.
type Token struct {
	Name     string         `json:"name"`
	Role     Role           `json:"role"`
	Author   string         `json:"author,omitempty"` // the account that made it, local, or "token NAME"; empty: not known
	Created  time.Time      `json:"created"`
	Expires  time.Time      `json:"expires,omitzero"`   // zero: never
	LastUsed time.Time      `json:"lastUsed,omitzero"`  // to the minute; zero: never
	Networks []netip.Prefix `json:"networks,omitempty"` // where it may be used from; empty: everywhere
}

// NewToken is what a token is made of.
type NewToken struct {
	Name     string         `json:"name"`
	Role     Role           `json:"role"`
	Expires  time.Time      `json:"expires,omitzero"`   // zero: never
	Networks []netip.Prefix `json:"networks,omitempty"` // empty: everywhere
}

// Tokens lists the tokens by name, also those that have expired.
func (a *Access) Tokens() ([]Token, error) {
	list := []Token{}
	err := a.store.ViewAccess(func(tx *store.AccessTx) error {
		stored, err := tx.Tokens()
		for _, t := range stored {
			list = append(list, tokenOf(t))
		}
		return err
	})
	slices.SortFunc(list, func(x, y Token) int { return cmp.Compare(x.Name, y.Name) })
	return list, err
}

func tokenOf(t store.Token) Token {
	return Token{t.Name, Role(t.Role), t.Author, t.Created, t.Expires, t.LastUsed, t.Networks}
}

// authorOf is who makes a token. Tokens may have the name of an account, and no name has a space.
func authorOf(by Identity) string {
	if by.Way == ByToken {
		return "token " + by.Name
	}
	return by.Name
}

// MadeBy tells whether an account made this token, and not one before it that had the same name.
func (t Token) MadeBy(account Account) bool {
	return t.Author == account.Name && !t.Created.Before(account.Created)
}

// CreateToken makes a token and returns its secret, which is not stored and cannot be shown again. Nobody gives a token
// more than they may themselves: ErrForbidden.
func (a *Access) CreateToken(by Identity, p Peer, n NewToken) (Token, string, error) {
	if err := a.judgeToken(by, &n); err != nil {
		return Token{}, "", err
	}
	secret := newTokenSecret()
	t := store.Token{Sum: store.SumOf(secret), Name: n.Name, Role: string(n.Role), Author: authorOf(by), Created: a.now().UTC(), Expires: n.Expires, Networks: n.Networks}
	err := a.update(func(tx *store.AccessTx) error {
		there, err := tx.Tokens()
		switch {
		case err != nil:
			return err
		case slices.ContainsFunc(there, func(other store.Token) bool { return other.Name == n.Name }):
			return ErrTokenExists
		case len(there) >= maxTokens:
			return ErrTooMany
		}
		return errors.Join(tx.PutToken(t), a.record(tx, by, p, event{"token-created", n.Name, string(n.Role)}))
	})
	if err != nil {
		return Token{}, "", err
	}
	return tokenOf(t), secret, nil
}

// judgeToken refuses a token that cannot be, and gives its fields the form in which they are kept.
func (a *Access) judgeToken(by Identity, n *NewToken) error {
	switch {
	case !slices.Contains(Roles(), n.Role):
		return ErrRole
	case !by.May(Administer) || !n.Role.within(by):
		return ErrForbidden
	case !nameForm.MatchString(n.Name):
		return ErrTokenName
	case !n.Expires.IsZero() && !n.Expires.After(a.now()), n.Expires.UTC().Year() > 9999:
		return ErrTokenExpired
	case len(n.Networks) > maxNetworks:
		return ErrTokenNetworks
	}
	if !n.Expires.IsZero() {
		n.Expires = n.Expires.UTC().Round(0)
	}
	n.Networks = slices.Clone(n.Networks)
	for i, network := range n.Networks {
		if !network.IsValid() {
			return ErrTokenNetworks
		}
		if network.Addr().Is4In6() && network.Bits() >= 96 { // peers are compared in their short form
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		n.Networks[i] = network.Masked()
	}
	return nil
}

// DeleteToken revokes a token at once.
func (a *Access) DeleteToken(by Identity, p Peer, name string) error {
	if !by.May(Administer) {
		return ErrForbidden
	}
	return a.update(func(tx *store.AccessTx) error {
		there, err := tx.Tokens()
		if err != nil {
			return err
		}
		i := slices.IndexFunc(there, func(t store.Token) bool { return t.Name == name })
		if i < 0 {
			return fmt.Errorf("token %q: %w", clean(name, 64), ErrNotFound)
		}
		return errors.Join(tx.DeleteToken(there[i].Sum), a.record(tx, by, p, event{"token-deleted", name, there[i].Role}))
	})
}

// ByToken is who bears the token with this secret: the token's own name and role. ErrNotFound: there is none, it has
// expired, or it may not be used from there. A right one always gets in; wrong ones end in *Throttled.
func (a *Access) ByToken(secret string, p Peer) (Identity, error) {
	now := a.now().UTC()
	t, err := a.findToken(secret)
	if err == nil && !usable(t, p.Addr.Unmap(), now) {
		err = fmt.Errorf("token: %w", ErrNotFound)
	}
	if errors.Is(err, ErrNotFound) && secret != "" {
		if _, throttled := a.tokenAttempts.admit(p.Addr, ""); throttled != nil {
			return Identity{}, throttled
		}
		a.recordFailure(p, "token-failed", t.Name, "") // a name: known, but expired or from a wrong network
	}
	if err != nil {
		return Identity{}, err
	}
	if due(t.LastUsed, now) {
		a.touchToken(t.Sum, now)
	}
	return Identity{Name: t.Name, Role: Role(t.Role), Way: ByToken, token: t.Sum}, nil
}

func (a *Access) findToken(secret string) (t store.Token, err error) {
	if !recognisable(secret) {
		return t, fmt.Errorf("token: %w", ErrNotFound)
	}
	err = a.store.ViewAccess(func(tx *store.AccessTx) error { t, err = tx.Token(store.SumOf(secret)); return err })
	if err != nil {
		return t, fmt.Errorf("token: %w", err)
	}
	return t, nil
}

func usable(t store.Token, from netip.Addr, now time.Time) bool {
	if expired(t, now) {
		return false
	}
	from = from.WithZone("") // a prefix has none, and contains no address with one
	return len(t.Networks) == 0 || slices.ContainsFunc(t.Networks, func(n netip.Prefix) bool { return n.Contains(from) })
}

func expired(t store.Token, now time.Time) bool { return !t.Expires.IsZero() && !now.Before(t.Expires) }

// touchToken notes that a token was used.
func (a *Access) touchToken(sum store.Sum, now time.Time) {
	a.noted("token", a.store.UpdateAccess(func(tx *store.AccessTx) error {
		t, err := tx.Token(sum)
		if err != nil {
			return err
		}
		if !due(t.LastUsed, now) {
			return errNoted
		}
		t.LastUsed = now
		return tx.PutToken(t)
	}))
}

// newTokenSecret is bw_, 43 characters for 256 random bits, 6 for their checksum.
func newTokenSecret() string {
	var random big.Int
	random.SetBytes(newRandom(32))
	body := base62(&random, tokenBody)
	return tokenPrefix + body + checksumOf(body)
}

func checksumOf(body string) string {
	return base62(new(big.Int).SetUint64(uint64(crc32.ChecksumIEEE([]byte(body)))), tokenChecksum)
}

func base62(n *big.Int, width int) string {
	text := n.Text(62)
	return strings.Repeat("0", max(0, width-len(text))) + text
}

// recognisable tells whether secret can be a token at all. Those of schema 1 began with breakwater_ and had no checksum.
func recognisable(secret string) bool {
	rest, ok := strings.CutPrefix(secret, tokenPrefix)
	if !ok {
		return strings.HasPrefix(secret, "breakwater_") && len(secret) < 128
	}
	return len(rest) == tokenBody+tokenChecksum && rest[tokenBody:] == checksumOf(rest[:tokenBody])
}
