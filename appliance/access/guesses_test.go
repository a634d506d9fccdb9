package access

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// TestASecondFactorCouldBeGuessedFromManyAddresses: only the peers were bounded.
func TestASecondFactorCouldBeGuessedFromManyAddresses(t *testing.T) {
	b, anna, cookie := claimed(t)
	recovery := enableTOTP(t, b, anna)
	wrong := 0
	var err error
	for i := range 2 * maxGuesses {
		if _, _, err = b.Login(t.Context(), peer(i), "anna", goodPassword, "abcdef"); errors.Is(err, ErrWrong) {
			wrong++
		}
	}
	if wrong != maxGuesses || !isThrottled(err) || !strings.Contains(err.Error(), "codes") {
		t.Errorf("%d guesses were looked at, then %v, want %d and a sentence about codes", wrong, err, maxGuesses)
	}
	if _, _, err := b.Login(t.Context(), peer(100), "anna", goodPassword, recovery[0]); !isThrottled(err) {
		t.Errorf("a right code: got %v, want Throttled", err)
	}
	if _, err := b.ByCookie(cookie, peer(0)); err != nil {
		t.Errorf("who is logged in: %v", err)
	}
	if _, err := b.Prove(t.Context(), anna, peer(0), goodPassword, recovery[1]); err != nil {
		t.Errorf("a proof of who is logged in: %v", err)
	}
	b.clock.advance(guessesWindow)
	if _, _, err := b.Login(t.Context(), peer(101), "anna", goodPassword, recovery[0]); err != nil {
		t.Errorf("an hour later: %v", err)
	}
}

func TestWhatIsNoGuess(t *testing.T) {
	b, anna, _ := claimed(t)
	enableTOTP(t, b, anna)
	for i := range 2 * maxGuesses {
		_, _, err := b.Login(t.Context(), peer(i), "anna", otherPassword, "abcdef")
		if !errors.Is(err, ErrWrong) {
			t.Fatalf("a wrong password: got %v, want ErrWrong", err)
		}
		if _, _, err = b.Login(t.Context(), peer(1000+i), "anna", goodPassword, ""); !errors.Is(err, ErrSecondFactor) {
			t.Fatalf("no code: got %v, want ErrSecondFactor", err)
		}
		b.clock.advance(30 * time.Second)
		code := codeAt(t, secretOf(t, b, "anna"), b.clock.Now())
		if _, _, err = b.Login(t.Context(), peer(2000+i), "anna", goodPassword, code); err != nil {
			t.Fatalf("a right code: %v", err)
		}
	}
}
