package access

import (
	"context"
	"errors"
	"net/netip"
	"time"
)

type Access struct{}

func New(o Options) (*Access, error) { return nil, errors.ErrUnsupported }

func (a *Access) Claimed() bool     { return false }
func (a *Access) SetupCode() string { return "" }
func (a *Access) Claim(ctx context.Context, p Peer, code, name, password string) (Identity, string, error) {
	return Identity{}, "", errors.ErrUnsupported
}
func (a *Access) Login(ctx context.Context, p Peer, name, password, second string) (Identity, string, error) {
	return Identity{}, "", errors.ErrUnsupported
}
func (a *Access) Prove(ctx context.Context, i Identity, p Peer, password, second string) (string, error) {
	return "", errors.ErrUnsupported
}
func (a *Access) Logout(i Identity) error { return errors.ErrUnsupported }
func (a *Access) ByCookie(secret string, p Peer) (Identity, error) {
	return Identity{}, errors.ErrUnsupported
}
func (a *Access) ByToken(secret string, p Peer) (Identity, error) {
	return Identity{}, errors.ErrUnsupported
}

type Account struct {
	Name         string    `json:"name"`
	Role         Role      `json:"role"`
	Created      time.Time `json:"created"`
	LastLogin    time.Time `json:"lastLogin,omitzero"`
	TOTP         bool      `json:"totp"`
	Passkeys     []Passkey `json:"passkeys"`
	RecoveryLeft int       `json:"recoveryLeft"`
}

type Passkey struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Created  time.Time `json:"created"`
	LastUsed time.Time `json:"lastUsed,omitzero"`
}

func (a *Access) Accounts() ([]Account, error) { return nil, errors.ErrUnsupported }
func (a *Access) CreateAccount(by Identity, p Peer, name string, role Role, password string) error {
	return errors.ErrUnsupported
}
func (a *Access) DeleteAccount(by Identity, p Peer, name string) error { return errors.ErrUnsupported }
func (a *Access) SetRole(by Identity, p Peer, name string, role Role) error {
	return errors.ErrUnsupported
}
func (a *Access) SetPassword(by Identity, p Peer, name, password string) error {
	return errors.ErrUnsupported
}

type TOTPSetup struct{ Secret, URL string }

func (a *Access) StartTOTP(by Identity, host string) (TOTPSetup, error) {
	return TOTPSetup{}, errors.ErrUnsupported
}
func (a *Access) EnableTOTP(by Identity, p Peer, code string) ([]string, error) {
	return nil, errors.ErrUnsupported
}
func (a *Access) DisableTOTP(by Identity, p Peer, name string) error { return errors.ErrUnsupported }
func (a *Access) NewRecoveryCodes(by Identity, p Peer) ([]string, error) {
	return nil, errors.ErrUnsupported
}
func (a *Access) PasskeyRegisterBegin(by Identity, host string) ([]byte, error) {
	return nil, errors.ErrUnsupported
}
func (a *Access) PasskeyRegisterFinish(by Identity, p Peer, name string, response []byte) error {
	return errors.ErrUnsupported
}
func (a *Access) PasskeyDelete(by Identity, p Peer, account, id string) error {
	return errors.ErrUnsupported
}
func (a *Access) PasskeyLoginBegin(p Peer) (options []byte, ceremony string, err error) {
	return nil, "", errors.ErrUnsupported
}
func (a *Access) PasskeyLoginFinish(ctx context.Context, p Peer, ceremony string, response []byte) (Identity, string, error) {
	return Identity{}, "", errors.ErrUnsupported
}

type LoginInfo struct {
	ID       string     `json:"id"`
	Account  string     `json:"account"`
	Created  time.Time  `json:"created"`
	LastSeen time.Time  `json:"lastSeen"`
	Proved   time.Time  `json:"proved"`
	Addr     netip.Addr `json:"addr"`
	Agent    string     `json:"agent"`
}

func (a *Access) Logins() ([]LoginInfo, error)                        { return nil, errors.ErrUnsupported }
func (a *Access) Revoke(by Identity, p Peer, id string) error         { return errors.ErrUnsupported }
func (a *Access) RevokeAll(by Identity, p Peer, account string) error { return errors.ErrUnsupported }

type Token struct {
	Name     string         `json:"name"`
	Role     Role           `json:"role"`
	Created  time.Time      `json:"created"`
	Expires  time.Time      `json:"expires,omitzero"`
	LastUsed time.Time      `json:"lastUsed,omitzero"`
	Networks []netip.Prefix `json:"networks,omitempty"`
}

type NewToken struct {
	Name     string         `json:"name"`
	Role     Role           `json:"role"`
	Expires  time.Time      `json:"expires,omitzero"`
	Networks []netip.Prefix `json:"networks,omitempty"`
}

func (a *Access) Tokens() ([]Token, error) { return nil, errors.ErrUnsupported }
func (a *Access) CreateToken(by Identity, p Peer, t NewToken) (Token, string, error) {
	return Token{}, "", errors.ErrUnsupported
}
func (a *Access) DeleteToken(by Identity, p Peer, name string) error { return errors.ErrUnsupported }

type AuditEntry struct {
	Number  uint64     `json:"number"`
	Time    time.Time  `json:"time"`
	Who     string     `json:"who"`
	Role    Role       `json:"role"`
	Way     Way        `json:"way"`
	Addr    netip.Addr `json:"addr"`
	Action  string     `json:"action"`
	Subject string     `json:"subject"`
	Detail  string     `json:"detail"`
	Hash    string     `json:"hash"`
}

func (a *Access) Record(by Identity, p Peer, action, subject, detail string) error {
	return errors.ErrUnsupported
}
func (a *Access) Audit(before uint64, limit int) ([]AuditEntry, error) {
	return nil, errors.ErrUnsupported
}
func (a *Access) AuditCheck() error { return errors.ErrUnsupported }
