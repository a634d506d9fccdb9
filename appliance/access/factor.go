package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"

	"breakwater/appliance/store"
)

const (
	totpPeriod    = 30 // seconds
	totpSkew      = 1  // steps before and after: clocks of phones
	recoveryCodes = 8
)

// TOTPSetup is a second factor that is to be enabled.
type TOTPSetup struct {
	Secret string // base32, for typing
	URL    string // otpauth://, for a QR code
}

// Format keeps the secret out of logs.
func (TOTPSetup) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "[redacted]") }

// LogValue keeps the secret out of logs.
func (TOTPSetup) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// StartTOTP makes a secret for the authenticator app. It waits 15 minutes for EnableTOTP; until then nothing changes.
// Host tells the app's user which box it is.
func (a *Access) StartTOTP(by Identity, host string) (TOTPSetup, error) {
	if by.Way != ByLogin {
		return TOTPSetup{}, ErrNoLogin
	}
	key, err := totp.Generate(totp.GenerateOpts{Issuer: "Breakwater " + clean(hostOf(host), 64), AccountName: by.Name, SecretSize: 20})
	if err != nil {
		return TOTPSetup{}, fmt.Errorf("make second factor: %w", err)
	}
	a.secondFactors.put(by.LoginID, netip.Prefix{}, key.Secret())
	return TOTPSetup{key.Secret(), key.URL()}, nil
}

// EnableTOTP makes the secret of StartTOTP the second factor, once a code shows that the app has it. It returns the
// recovery codes, this once. ErrNotFound: nothing was started, or too long ago.
func (a *Access) EnableTOTP(by Identity, p Peer, code string) ([]string, error) {
	if by.Way != ByLogin {
		return nil, ErrNoLogin
	}
	secret, ok := a.secondFactors.take(by.LoginID)
	if !ok {
		return nil, fmt.Errorf("second factor to be enabled: %w", ErrNotFound)
	}
	factor := &store.TOTP{Secret: store.Secret(secret), Since: a.now().UTC()}
	if err := useTOTP(factor, code, a.now()); err != nil {
		a.secondFactors.put(by.LoginID, netip.Prefix{}, secret)
		return nil, err
	}
	codes, sums := newRecovery()
	err := a.changeOwn(by, p, by.Name, "totp-enabled", func(_ *store.AccessTx, account *store.Account) (string, error) {
		account.TOTP, account.Recovery = factor, sums
		return "", nil
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// DisableTOTP takes the second factor and the recovery codes from an account.
func (a *Access) DisableTOTP(by Identity, p Peer, name string) error {
	return a.changeOwn(by, p, name, "totp-disabled", func(_ *store.AccessTx, account *store.Account) (string, error) {
		if account.TOTP == nil {
			return "", ErrNotFound
		}
		account.TOTP, account.Recovery = nil, nil
		return "", nil
	})
}

// NewRecoveryCodes replaces the recovery codes. ErrNotFound: the account has no second factor that they could stand for.
func (a *Access) NewRecoveryCodes(by Identity, p Peer) ([]string, error) {
	if by.Way != ByLogin {
		return nil, ErrNoLogin
	}
	codes, sums := newRecovery()
	err := a.changeOwn(by, p, by.Name, "recovery-codes", func(_ *store.AccessTx, account *store.Account) (string, error) {
		if account.TOTP == nil {
			return "", ErrNotFound
		}
		account.Recovery = sums
		return "", nil
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// spend uses up the TOTP code or recovery code, if the account has a second factor. It must be called in the transaction
// that account was read in: that is what makes a code work once.
func spend(account store.Account, action, second string, now time.Time) (entry, error) {
	left := len(account.Recovery)
	how, err := useSecond(&account, second, now)
	if err != nil {
		return entry{}, err
	}
	// A used recovery code must not come back with the second copy; a step is over after 90 seconds anyway.
	return entry{account: account, whole: len(account.Recovery) < left, event: event{action, account.Name, how}}, nil
}

// useSecond changes the account as the code demands, and says which one it was.
func useSecond(account *store.Account, second string, now time.Time) (how string, err error) {
	if account.TOTP == nil {
		return "", nil
	}
	if second == "" {
		return "", ErrSecondFactor
	}
	if code := readCode(second, recoveryGroups); code != "" {
		i := slices.Index(account.Recovery, recoverySum(code))
		if i < 0 {
			return "", ErrWrong
		}
		account.Recovery = slices.Delete(account.Recovery, i, i+1)
		return fmt.Sprintf("with a recovery code, %d are left", len(account.Recovery)), nil
	}
	factor := *account.TOTP
	if err := useTOTP(&factor, second, now); err != nil {
		return "", err
	}
	account.TOTP = &factor
	return "with a code", nil
}

// useTOTP accepts a code of a step after the last accepted one (RFC 6238, section 5.2: a code must not be accepted
// twice), and makes its step the last one.
func useTOTP(factor *store.TOTP, code string, now time.Time) error {
	code = strings.Map(func(r rune) rune {
		if r == ' ' || r == '-' {
			return -1
		}
		return r
	}, code)
	step := uint64(max(now.Unix(), totpPeriod*totpSkew)) / totpPeriod
	for s := step - totpSkew; s <= step+totpSkew; s++ {
		want, err := hotp.GenerateCodeCustom(string(factor.Secret), s, hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1})
		if err != nil {
			return fmt.Errorf("compute code: %w", err)
		}
		if subtle.ConstantTimeCompare([]byte(code), []byte(want)) == 1 && s > factor.LastStep {
			factor.LastStep = s
			return nil
		}
	}
	return ErrWrong
}

func newRecovery() (codes, sums []string) {
	for range recoveryCodes {
		code := newCode(recoveryGroups)
		codes, sums = append(codes, code), append(sums, recoverySum(code))
	}
	return codes, sums
}

// recoverySum needs no slow hash: a code has 80 random bits.
func recoverySum(code string) string {
	sum := sha256.Sum256([]byte(code))
	return hex.EncodeToString(sum[:])
}

// hostOf is a host without its port.
func hostOf(at string) string {
	if host, _, err := net.SplitHostPort(at); err == nil {
		return host
	}
	return strings.Trim(at, "[]")
}
