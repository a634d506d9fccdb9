package pattern

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestCheckFindsWrongBytes: what a proxy can do wrong to a stream shows, and where.
func TestCheckFindsWrongBytes(t *testing.T) {
	const seed, offset = 5, 1<<33 + 3
	good := make([]byte, 5000)
	Fill(good, seed, offset)
	for _, tt := range []struct {
		name string
		got  []byte
		want string // empty: nothing is wrong
	}{
		{"as it was sent", good, ""},
		{"a flipped bit", slices.Concat(good[:100], []byte{good[100] ^ 1}, good[101:]), "wrong byte at 8589934695"},
		{"a lost byte", slices.Concat(good[:100], good[101:]), "wrong byte at 8589934695: got "},
		{"28 bytes too many, as of a header", slices.Concat(good[:100], make([]byte, 28), good[100:]), "wrong byte at 8589934695"},
		{"a segment twice", slices.Concat(good[:2896], good[1448:]), "which belongs at 8589936043"},
		{"a segment too early", slices.Concat(good[:1448], good[2896:]), "which belongs at 8589937491"},
		{"zeros in the last bytes", slices.Concat(good[:4990], make([]byte, 10)), "wrong byte at 8589939585"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := Check(tt.got, seed, offset, make([]byte, 1<<13))
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// TestFillIsOneStream: however it is cut, and with no two places alike.
func TestFillIsOneStream(t *testing.T) {
	whole, piece := make([]byte, 300), make([]byte, 300)
	Fill(whole, 9, 0)
	for from := range whole {
		Fill(piece[from:], 9, int64(from))
		if !bytes.Equal(piece[from:], whole[from:]) {
			t.Fatalf("from %d on the bytes are others", from)
		}
	}
	seen := make(map[string]bool)
	many := make([]byte, 1<<20)
	Fill(many, 9, 0)
	for i := 0; i+8 <= len(many); i++ {
		if word := string(many[i : i+8]); seen[word] {
			t.Fatalf("the eight bytes at %d were there before", i)
		} else {
			seen[word] = true
		}
	}
}
