package access

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/webauthn"

	"breakwater/appliance/store"
)

const (
	ceremonyTime   = 5 * time.Minute
	maxPasskeys    = 16       // of one account
	maxPasskeyName = 64       // bytes
	maxResponse    = 64 << 10 // bytes of what a browser answers
)

// ceremony is a passkey being registered or used: WebAuthn's word for the question to the browser and its answer.
type ceremony struct {
	party   *webauthn.WebAuthn
	session webauthn.SessionData
}

// passkeyUser is an account as the library sees it: with the passkeys for one host name.
type passkeyUser struct {
	account     store.Account
	credentials []webauthn.Credential
}

func (u passkeyUser) WebAuthnID() []byte                         { return []byte(u.account.ID) }
func (u passkeyUser) WebAuthnName() string                       { return u.account.Name }
func (u passkeyUser) WebAuthnDisplayName() string                { return u.account.Name }
func (u passkeyUser) WebAuthnCredentials() []webauthn.Credential { return u.credentials }

func userOf(account store.Account, rpID string) (passkeyUser, error) {
	u := passkeyUser{account: account}
	for _, key := range account.Passkeys {
		if key.RPID != rpID {
			continue
		}
		var c webauthn.Credential
		if err := json.Unmarshal(key.Credential, &c); err != nil {
			return u, fmt.Errorf("read passkey: %w", err)
		}
		c.Authenticator.CloneWarning = false // of this use, not of a former one
		u.credentials = append(u.credentials, c)
	}
	return u, nil
}

// partyOf is the relying party of a page opened at a host, with its port if it has one. Browsers give passkeys to names
// only, and only to the name that they were made for.
func partyOf(at string) (*webauthn.WebAuthn, error) {
	at = strings.ToLower(strings.TrimSuffix(at, ":443"))
	name := hostOf(at)
	if _, err := netip.ParseAddr(name); err == nil || name == "" {
		return nil, ErrNoName
	}
	party, err := webauthn.New(&webauthn.Config{
		RPID: name, RPDisplayName: "Breakwater", RPOrigins: []string{"https://" + at},
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey: protocol.ResidentKeyRequirementRequired, UserVerification: protocol.VerificationRequired,
		},
		// Some password managers answer more than they were asked.
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoName, err)
	}
	return party, nil
}

// PasskeyRegisterBegin returns what the browser needs to make a passkey: {"publicKey": …}, in the JSON form of
// WebAuthn level 3, for navigator.credentials.create. Host is where the page was opened, with its port.
func (a *Access) PasskeyRegisterBegin(by Identity, host string) ([]byte, error) {
	if by.Way != ByLogin {
		return nil, ErrNoLogin
	}
	party, err := partyOf(host)
	if err != nil {
		return nil, err
	}
	user, err := a.passkeyUserNamed(by.Name, party.Config.RPID)
	if err != nil {
		return nil, err
	}
	exclude := webauthn.Credentials(user.credentials).CredentialDescriptors()
	options, session, err := party.BeginRegistration(user, webauthn.WithExclusions(exclude))
	if err != nil {
		return nil, fmt.Errorf("begin passkey: %w", err)
	}
	a.registrations.put(by.LoginID, netip.Prefix{}, ceremony{party, *session})
	return json.Marshal(options)
}

func (a *Access) passkeyUserNamed(name, rpID string) (user passkeyUser, err error) {
	err = a.store.ViewAccess(func(tx *store.AccessTx) error {
		account, err := tx.Account(name)
		if err != nil {
			return err
		}
		user, err = userOf(account, rpID)
		return err
	})
	return user, err
}

// PasskeyRegisterFinish stores the passkey that the browser made. ErrPasskey: the answer does not fit what
// PasskeyRegisterBegin asked for, or that was too long ago.
func (a *Access) PasskeyRegisterFinish(by Identity, p Peer, name string, response []byte) error {
	if by.Way != ByLogin {
		return ErrNoLogin
	}
	c, ok := a.registrations.take(by.LoginID)
	if !ok || len(response) > maxResponse {
		return ErrPasskey
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes(response)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrPasskey, err)
	}
	user, err := a.passkeyUserNamed(by.Name, c.party.Config.RPID)
	if err != nil {
		return err
	}
	credential, err := c.party.CreateCredential(user, c.session, parsed)
	if err != nil {
		return fmt.Errorf("%w (%w)", ErrPasskey, err)
	}
	record, err := json.Marshal(credential)
	if err != nil {
		return err
	}
	if name = clean(strings.TrimSpace(name), maxPasskeyName); name == "" {
		name = "Passkey"
	}
	key := store.Passkey{ID: base64.RawURLEncoding.EncodeToString(credential.ID), Name: name, RPID: c.party.Config.RPID, Created: a.now().UTC(), Credential: record}
	return a.changeOwn(by, p, by.Name, "passkey-added", func(tx *store.AccessTx, account *store.Account) (string, error) {
		return key.Name + " for " + key.RPID, addPasskey(tx, account, key)
	})
}

// addPasskey adds a passkey that no account has yet (WebAuthn level 3, section 7.1, step 26).
func addPasskey(tx *store.AccessTx, account *store.Account, key store.Passkey) error {
	all, err := tx.Accounts()
	if err != nil {
		return err
	}
	same := func(k store.Passkey) bool { return k.ID == key.ID }
	if slices.ContainsFunc(all, func(a store.Account) bool { return slices.ContainsFunc(a.Passkeys, same) }) {
		return ErrPasskey
	}
	if len(account.Passkeys) >= maxPasskeys {
		return ErrTooMany
	}
	account.Passkeys = append(account.Passkeys, key)
	return nil
}

// PasskeyDelete forgets a passkey of an account. Those of other accounts need Administer.
func (a *Access) PasskeyDelete(by Identity, p Peer, account, id string) error {
	return a.changeOwn(by, p, account, "passkey-deleted", func(_ *store.AccessTx, account *store.Account) (string, error) {
		i := slices.IndexFunc(account.Passkeys, func(k store.Passkey) bool { return k.ID == id })
		if i < 0 {
			return "", fmt.Errorf("passkey: %w", ErrNotFound)
		}
		name := account.Passkeys[i].Name
		account.Passkeys = slices.Delete(account.Passkeys, i, i+1)
		return name, nil
	})
}

// PasskeyLoginBegin returns what the browser needs to ask for any passkey of this box, {"publicKey": …} for
// navigator.credentials.get, and the ceremony's id for PasskeyLoginFinish.
func (a *Access) PasskeyLoginBegin(p Peer) (options []byte, id string, err error) {
	party, err := partyOf(p.At)
	if err != nil {
		return nil, "", err
	}
	assertion, session, err := party.BeginDiscoverableLogin()
	if err != nil {
		return nil, "", fmt.Errorf("begin passkey login: %w", err)
	}
	id = newID()
	a.passkeyLogins.put(id, peerOf(p.Addr), ceremony{party, *session})
	options, err = json.Marshal(assertion)
	return options, id, err
}

// PasskeyLoginFinish logs in whoever has the passkey. It counts as both factors, as the authenticator has verified the
// person. ErrWrong: it does not fit, whatever the reason.
func (a *Access) PasskeyLoginFinish(_ context.Context, p Peer, id string, response []byte) (Identity, string, error) {
	try, err := a.attempts.admit(p.Addr, "")
	if err != nil {
		return Identity{}, "", err
	}
	account, key, err := a.checkPasskey(id, response)
	if err != nil {
		return Identity{}, "", a.settle(try, p, "passkey-failed", account.Name, err)
	}
	identity, cookie, err := a.enter(p, func(tx *store.AccessTx) (entry, error) {
		now, err := a.unchanged(tx, account)
		if err != nil {
			return entry{}, err
		}
		how, err := usePasskey(&now, key, a.now())
		return entry{account: now, event: event{"login", now.Name, how}}, err
	})
	return identity, cookie, a.settle(try, p, "passkey-failed", account.Name, err)
}

// checkPasskey finds the account whose passkey has answered, with what is to be stored about the passkey.
func (a *Access) checkPasskey(id string, response []byte) (store.Account, *webauthn.Credential, error) {
	c, ok := a.passkeyLogins.take(id)
	if !ok || len(response) > maxResponse {
		return store.Account{}, nil, ErrWrong
	}
	parsed, err := protocol.ParseCredentialRequestResponseBytes(response)
	if err != nil {
		return store.Account{}, nil, ErrWrong
	}
	var user passkeyUser
	var readErr error // of the store: not the fault of who logs in
	_, key, err := c.party.ValidatePasskeyLogin(func(_, handle []byte) (webauthn.User, error) {
		readErr = a.store.ViewAccess(func(tx *store.AccessTx) error {
			account, err := tx.AccountByID(string(handle))
			if err != nil {
				return err
			}
			user, err = userOf(account, c.party.Config.RPID)
			return err
		})
		return user, readErr
	}, c.session, parsed)
	if readErr != nil && !errors.Is(readErr, ErrNotFound) {
		return user.account, nil, readErr
	}
	if err != nil {
		a.log.Debug("passkey refused", "err", err)
		return user.account, nil, ErrWrong
	}
	return user.account, key, nil
}

// usePasskey stores the counter of a passkey that was used. A counter that does not grow is the sign of a copy: it is
// told and lets in, since there are authenticators that count wrong and the person was verified.
func usePasskey(account *store.Account, used *webauthn.Credential, now time.Time) (how string, err error) {
	id := base64.RawURLEncoding.EncodeToString(used.ID)
	i := slices.IndexFunc(account.Passkeys, func(k store.Passkey) bool { return k.ID == id })
	if i < 0 {
		return "", ErrWrong
	}
	key := &account.Passkeys[i]
	if key.Credential, err = json.Marshal(used); err != nil {
		return "", err
	}
	key.LastUsed = now.UTC()
	how = "with the passkey " + key.Name
	if used.Authenticator.CloneWarning {
		how += ", whose counter did not grow: there may be a copy of it"
	}
	return how, nil
}
