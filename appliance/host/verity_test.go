package host

import (
	"bytes"
	"encoding/binary"
	"os"
	"slices"
	"strings"
	"testing"
)

// verityData is what testdata/verity was made of, by veritysetup format --salt=00112233445566778899aabbccddeeff.
func verityData() []byte {
	var data []byte
	for i := range 300 {
		for j := range verityBlock {
			data = append(data, byte(i*7+j))
		}
	}
	return data
}

const verityHash = "0274efc8d2dc31235246c8eb924c849891962e94ccaa41513236d62d1108c4ec"

func TestVerify(t *testing.T) {
	good, err := os.ReadFile("testdata/verity")
	if err != nil {
		t.Fatal(err)
	}
	data := verityData()
	flip := func(in []byte, at int) []byte { in = slices.Clone(in); in[at] ^= 1; return in }
	number := func(at int, value uint64) []byte {
		in := slices.Clone(good)
		binary.LittleEndian.PutUint64(in[at:], value)
		return in
	}
	tests := []struct {
		name         string
		data, hashes []byte
		root, want   string
	}{
		{"good", data, good, verityHash, ""},
		{"with room behind it", append(slices.Clone(data), make([]byte, 8192)...), append(slices.Clone(good), 1, 2, 3), verityHash, ""},
		{"first bit of the data", flip(data, 0), good, verityHash, "has another hash"},
		{"last bit of the data", flip(data, len(data)-1), good, verityHash, "has another hash"},
		{"a hash of the data", data, flip(good, 3*verityBlock+7), verityHash, "has another hash"},
		{"room in a block of hashes", data, flip(good, len(good)-1), verityHash, "has another hash"},
		{"first block of hashes", data, flip(good, verityBlock), verityHash, "has another hash"},
		{"salt", data, flip(good, 90), verityHash, "has another hash"},
		{"another system", data, good, strings.Replace(verityHash, "0", "1", 1), "has another hash"},
		{"data cut", data[:len(data)-1], good, verityHash, "read the system: EOF"},
		{"hashes cut", data, good[:len(good)-1], verityHash, "read the system: EOF"},
		{"no superblock", data, good[:100], verityHash, "read the hashes of the system: unexpected EOF"},
		{"nothing", data, make([]byte, 1<<16), verityHash, "there are no hashes"},
		{"another version", data, flip(good, 8), verityHash, "there are no hashes"},
		{"another algorithm", data, flip(good, 32), verityHash, "unknown format"},
		{"other blocks", data, flip(good, 64), verityHash, "unknown format"},
		{"too many blocks", data, number(72, 1<<60), verityHash, "damaged"},
		{"no blocks", data, number(72, 0), verityHash, "damaged"},
		{"too long a salt", data, flip(good, 81), verityHash, "damaged"},
		{"no hash", data, good, "", "no SHA-256 hash"},
		{"half a hash", data, good, verityHash[:32], "no SHA-256 hash"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := Verify(bytes.NewReader(test.data), bytes.NewReader(test.hashes), test.root)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
