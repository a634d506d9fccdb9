package proxy

import (
	"testing"
	"time"
)

// TestSlowRatesLetFlowsThrough: a rate of less than one flow a second for each worker is slow, not zero.
func TestSlowRatesLetFlowsThrough(t *testing.T) {
	var b bucket
	passed := 0
	for s := range 100 {
		if b.take(int64(s+1)*int64(time.Second), 1, 4) {
			passed++
		}
	}
	if passed < 24 || passed > 26 {
		t.Errorf("%d flows in 100 s at a quarter a second", passed)
	}
}
