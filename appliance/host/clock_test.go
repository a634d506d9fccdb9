package host

import (
	"testing"
	"time"
)

func TestClock(t *testing.T) {
	tests := []struct {
		name     string
		state    int
		bits     int32
		maxError int64
		want     Clock
	}{
		{"kept by chrony", 0, 0x2001, 12_500, Clock{true, 12500 * time.Microsecond}},
		{"a leap second comes", 1, 0x2011, 1000, Clock{true, time.Millisecond}},
		{"never kept", 5, 0x40, 16_000_000, Clock{}},
		{"kept no more", 0, 0x2041, 16_000_000, Clock{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := clockOf(test.state, test.bits, test.maxError); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
	clock, err := ReadClock()
	if err != nil {
		t.Fatal(err)
	}
	if !clock.Synchronised && clock.Off != 0 {
		t.Errorf("the clock is off by %s and nobody keeps it, so nobody knows", clock.Off)
	}
}
