package access

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"

	"breakwater/appliance/store"
)

// codeAt is what the authenticator app shows at a time.
func codeAt(t *testing.T, secret string, at time.Time) string {
	t.Helper()
	code, err := totp.GenerateCode(secret, at)
	must(t, err)
	return code
}

// secretOf reads the secret that the account's app has.
func secretOf(t *testing.T, b *box, name string) (secret string) {
	t.Helper()
	must(t, b.store.ViewAccess(func(tx *store.AccessTx) error {
		account, err := tx.Account(name)
		if account.TOTP != nil {
			secret = string(account.TOTP.Secret)
		}
		return err
	}))
	return secret
}

// enableTOTP gives who a second factor and lets a minute pass, so that the next code is another one.
func enableTOTP(t *testing.T, b *box, who Identity) (recovery []string) {
	t.Helper()
	setup, err := b.StartTOTP(who, "box.example:8443")
	must(t, err)
	recovery, err = b.EnableTOTP(who, peer(0), codeAt(t, setup.Secret, b.clock.Now()))
	must(t, err)
	b.clock.advance(time.Minute)
	return recovery
}

func TestASecondFactorIsEnabled(t *testing.T) {
	b, anna, cookie := claimed(t)
	setup, err := b.StartTOTP(anna, "box.example:8443")
	must(t, err)
	link, err := url.Parse(setup.URL)
	if err != nil || link.Scheme != "otpauth" || link.Query().Get("secret") != setup.Secret || !strings.Contains(link.Path, "box.example:anna") {
		t.Errorf("the link is %s (error %v)", setup.URL, err)
	}
	if text := fmt.Sprintf("%v %+v %#v %s", setup, setup, setup, setup); strings.Contains(text, setup.Secret) {
		t.Errorf("the secret is printed: %s", text)
	}
	if _, err := b.EnableTOTP(anna, peer(0), "000000"); !errors.Is(err, ErrWrong) {
		t.Errorf("a wrong code: got %v, want ErrWrong", err)
	}
	if who, err := b.ByCookie(cookie, peer(0)); err != nil || who.SecondFactor {
		t.Errorf("before: %+v, %v, want no second factor", who, err)
	}
	code := codeAt(t, setup.Secret, b.clock.Now())
	codes, err := b.EnableTOTP(anna, peer(0), code[:3]+" "+code[3:])
	if err != nil || len(codes) != recoveryCodes || len(slices.Compact(slices.Sorted(slices.Values(codes)))) != recoveryCodes {
		t.Fatalf("got the codes %v, %v, want 8 different ones", codes, err)
	}
	if who, err := b.ByCookie(cookie, peer(0)); err != nil || !who.SecondFactor {
		t.Errorf("after: %+v, %v, want a second factor", who, err)
	}
	if _, err := b.EnableTOTP(anna, peer(0), code); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
	if _, _, err := b.Login(t.Context(), peer(0), "anna", goodPassword, code); !errors.Is(err, ErrWrong) {
		t.Errorf("logging in with the code that enabled it: got %v, want ErrWrong", err)
	}
}

func TestAStartedSecondFactorWaits15Minutes(t *testing.T) {
	b, anna, _ := claimed(t)
	setup, err := b.StartTOTP(anna, "192.0.2.1")
	must(t, err)
	b.clock.advance(16 * time.Minute)
	if _, err := b.EnableTOTP(anna, peer(0), codeAt(t, setup.Secret, b.clock.Now())); !errors.Is(err, ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
	if _, err := b.StartTOTP(Local(), ""); !errors.Is(err, ErrNoLogin) {
		t.Errorf("the socket: got %v, want ErrNoLogin", err)
	}
}

func TestLoginWithASecondFactor(t *testing.T) {
	b, anna, _ := claimed(t)
	recovery := enableTOTP(t, b, anna)
	secret := secretOf(t, b, "anna")
	now := b.clock.Now()
	tests := []struct {
		name, password, second string
		want                   error
	}{
		{"none yet", goodPassword, "", ErrSecondFactor},
		{"none yet, wrong password", otherPassword, "", ErrWrong},
		{"right code, wrong password", otherPassword, codeAt(t, secret, now), ErrWrong},
		{"two steps ago", goodPassword, codeAt(t, secret, now.Add(-time.Minute)), ErrWrong},
		{"in two steps", goodPassword, codeAt(t, secret, now.Add(time.Minute)), ErrWrong},
		{"not a code", goodPassword, "abcdef", ErrWrong},
		{"the clock is a step behind", goodPassword, codeAt(t, secret, now.Add(-30*time.Second)), nil},
		{"right", goodPassword, codeAt(t, secret, now), nil},
		{"again", goodPassword, codeAt(t, secret, now), ErrWrong},
		{"the one before", goodPassword, codeAt(t, secret, now.Add(-30*time.Second)), ErrWrong},
		{"recovery code", goodPassword, strings.ToLower(recovery[3]), nil},
		{"recovery code again", goodPassword, recovery[3], ErrWrong},
		{"another recovery code", goodPassword, strings.ReplaceAll(recovery[0], "-", ""), nil},
	}
	for i, test := range tests {
		_, _, err := b.Login(t.Context(), peer(i), "anna", test.password, test.second)
		if !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
	accounts, err := b.Accounts()
	if err != nil || accounts[0].RecoveryLeft != recoveryCodes-2 || !accounts[0].TOTP {
		t.Errorf("got %+v, %v, want 6 recovery codes left", accounts, err)
	}
}

// TestACodeWorksOnce uses the same code from 100 browsers at once, for a login, and a recovery code too.
func TestACodeWorksOnce(t *testing.T) {
	for _, kind := range []string{"code", "recovery code"} {
		t.Run(kind, func(t *testing.T) {
			b, anna, _ := claimed(t)
			second := enableTOTP(t, b, anna)[0]
			if kind == "code" {
				second = codeAt(t, secretOf(t, b, "anna"), b.clock.Now())
			}
			errIn := errors.New("logged in")
			errBounded := errors.New("not looked at")
			counts := atOnce(100, func(i int) error {
				for {
					_, _, err := b.Login(t.Context(), peer(i), "anna", goodPassword, second)
					throttled, ok := errors.AsType[*Throttled](err)
					if !ok {
						return orElse(err, errIn)
					}
					if throttled.Codes { // else the queue for password checks was full
						return errBounded
					}
				}
			}, errIn, ErrWrong, errBounded)
			if counts[errIn] != 1 || counts[ErrWrong]+counts[errBounded] != 99 || counts[ErrWrong] > maxGuesses {
				t.Errorf("got %v, want one login and 99 that were wrong or too many", counts)
			}
			b.restart(t)
			if _, _, err := b.Login(t.Context(), peer(200), "anna", goodPassword, second); !errors.Is(err, ErrWrong) {
				t.Errorf("after a restart: got %v, want ErrWrong", err)
			}
		})
	}
}

func orElse(err, otherwise error) error {
	if err == nil {
		return otherwise
	}
	return err
}

// TestGuessingCodesEndsAtThePeer: who knows the password must not get more guesses by asking without a code in between.
func TestGuessingCodesEndsAtThePeer(t *testing.T) {
	b, anna, _ := claimed(t)
	enableTOTP(t, b, anna)
	guesses := 0
	for range 30 {
		_, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, "000000")
		if errors.Is(err, ErrWrong) {
			guesses++
		}
		_, _, err = b.Login(t.Context(), peer(1), "anna", goodPassword, "")
		if !errors.Is(err, ErrSecondFactor) && !isThrottled(err) {
			t.Fatalf("without a code: %v", err)
		}
	}
	if guesses != freeFailures {
		t.Errorf("%d guesses, want %d", guesses, freeFailures)
	}
}

func TestProvingNeedsTheSecondFactor(t *testing.T) {
	b, anna, _ := claimed(t)
	enableTOTP(t, b, anna)
	code := codeAt(t, secretOf(t, b, "anna"), b.clock.Now())
	if _, err := b.Prove(t.Context(), anna, peer(0), goodPassword, ""); !errors.Is(err, ErrSecondFactor) {
		t.Errorf("without a code: got %v, want ErrSecondFactor", err)
	}
	if _, err := b.Prove(t.Context(), anna, peer(0), goodPassword, code); err != nil {
		t.Errorf("with a code: %v", err)
	}
	if _, err := b.Prove(t.Context(), anna, peer(0), goodPassword, code); !errors.Is(err, ErrWrong) {
		t.Errorf("with the same code: got %v, want ErrWrong", err)
	}
}

func TestASecondFactorIsTakenAway(t *testing.T) {
	b, anna, _ := claimed(t)
	if _, err := b.NewRecoveryCodes(anna, peer(0)); !errors.Is(err, ErrNotFound) {
		t.Errorf("recovery codes for no factor: got %v, want ErrNotFound", err)
	}
	old := enableTOTP(t, b, anna)
	fresh, err := b.NewRecoveryCodes(anna, peer(0))
	must(t, err)
	if _, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, old[0]); !errors.Is(err, ErrWrong) {
		t.Errorf("a replaced recovery code: got %v, want ErrWrong", err)
	}
	if _, _, err := b.Login(t.Context(), peer(1), "anna", goodPassword, fresh[0]); err != nil {
		t.Errorf("a new recovery code: %v", err)
	}
	must(t, b.CreateAccount(anna, peer(0), "bert", Operator, otherPassword))
	bert, _, err := b.Login(t.Context(), peer(2), "bert", otherPassword, "")
	must(t, err)
	if err := b.DisableTOTP(bert, peer(2), "anna"); !errors.Is(err, ErrForbidden) {
		t.Errorf("an operator takes an admin's: got %v, want ErrForbidden", err)
	}
	must(t, b.DisableTOTP(Local(), Peer{}, "anna"))
	if err := b.DisableTOTP(Local(), Peer{}, "anna"); !errors.Is(err, ErrNotFound) {
		t.Errorf("again: got %v, want ErrNotFound", err)
	}
	if _, _, err := b.Login(t.Context(), peer(3), "anna", goodPassword, ""); err != nil {
		t.Errorf("without it: %v", err)
	}
	if got := b.actions(t); !slices.Contains(got, "totp-disabled") || !slices.Contains(got, "totp-enabled") || !slices.Contains(got, "recovery-codes") {
		t.Errorf("the audit log has %v, want what happened to the factor", got)
	}
}

// TestCodesOfRFC6238 computes the codes of the RFC's appendix B, with the last six of its eight digits.
func TestCodesOfRFC6238(t *testing.T) {
	const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // 12345678901234567890
	for seconds, code := range map[int64]string{59: "287082", 1111111109: "081804", 1111111111: "050471", 1234567890: "005924", 2000000000: "279037"} {
		factor := &store.TOTP{Secret: secret}
		if err := useTOTP(factor, code, time.Unix(seconds, 0)); err != nil || factor.LastStep != uint64(seconds/30) {
			t.Errorf("at %d: %v, step %d, want %d", seconds, err, factor.LastStep, seconds/30)
		}
	}
	if err := useTOTP(&store.TOTP{Secret: secret}, "000000", time.Unix(-5, 0)); !errors.Is(err, ErrWrong) {
		t.Errorf("before 1970: got %v, want ErrWrong", err)
	}
}
