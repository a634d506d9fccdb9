package lists

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"addresses and prefixes", "192.0.2.1\n198.51.100.0/24\n2001:db8::/32\n2001:db8::1\n", "[192.0.2.1/32 198.51.100.0/24 2001:db8::/32 2001:db8::1/128]"},
		{"comments", "# all\n; drop\n\n192.0.2.0/24 ; SBL1\n198.51.100.1 # why\n  \t\n", "[192.0.2.0/24 198.51.100.1/32]"},
		{"CRLF, a byte order mark, no newline at the end", "\ufeff192.0.2.1\r\n192.0.2.2", "[192.0.2.1/32 192.0.2.2/32]"},
		{"columns", "192.0.2.0/24,US,spam\n192.0.3.0/24\tx y\n192.0.4.0/24 2026-01-01\n", "[192.0.2.0/24 192.0.3.0/24 192.0.4.0/24]"},
		{"bits behind the length", "192.0.2.77/24\n2001:db8::1/64", "[192.0.2.0/24 2001:db8::/64]"},
		{"IPv4 as IPv6", "::ffff:192.0.2.1\n::ffff:192.0.2.0/120", "[192.0.2.1/32 192.0.2.0/24]"},
		{"ranges", "192.0.2.1-192.0.2.6\n192.0.2.0 - 192.0.2.255\n2001:db8::-2001:db8::f", "[192.0.2.1/32 192.0.2.2/31 192.0.2.4/31 192.0.2.6/32 192.0.2.0/24 2001:db8::/124]"},
		{"the ends of all", "255.255.255.255\nffff:ffff::/32\n255.255.255.254-255.255.255.255", "[255.255.255.255/32 ffff:ffff::/32 255.255.255.254/31]"},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := Parse(strings.NewReader(test.text))
			if err != nil || fmt.Sprint(got) != test.want {
				t.Errorf("got %v, %v, want %s", got, err, test.want)
			}
		})
	}
}

// TestParseTellsEveryBrokenLine: with its number, and no entry of the list is used.
func TestParseTellsEveryBrokenLine(t *testing.T) {
	list, err := Parse(strings.NewReader("192.0.2.1\nexample.org\n# fine\n192.0.2.0/33\n0.0.0.0/0\n2000::/3\n192.0.2.9-192.0.2.1\n1.0.0.0-250.0.0.0\n192.0.2.1-::1\nfe80::1%eth0\n"))
	unusable, ok := errors.AsType[*Unusable](err)
	if !ok || list != nil {
		t.Fatalf("got %v, %v", list, err)
	}
	want := map[int]string{2: "not an address", 4: "not an address", 5: "too wide", 6: "too wide", 7: "ends before", 8: "too wide", 9: "range of two", 10: "not an address"}
	if unusable.Count != len(want) || len(unusable.Lines) != len(want) {
		t.Errorf("got %d broken lines: %+v", unusable.Count, unusable.Lines)
	}
	for _, b := range unusable.Lines {
		if why, known := want[b.Line]; !known || !strings.Contains(b.Why, why) || b.Text == "" {
			t.Errorf("line %d, %q: %s", b.Line, b.Text, b.Why)
		}
	}
}

func TestParseBounds(t *testing.T) {
	if _, err := Parse(strings.NewReader("# nothing\n")); !errors.Is(err, ErrEmpty) {
		t.Errorf("a list of nothing: %v", err)
	}
	many := strings.Repeat("x\n", 500)
	if unusable, ok := errors.AsType[*Unusable](second(Parse(strings.NewReader(many)))); !ok || unusable.Count != 500 || len(unusable.Lines) != maxBroken {
		t.Errorf("500 broken lines are told otherwise")
	}
	if _, err := Parse(strings.NewReader(strings.Repeat("1.2.3.4\n", MaxEntries+1))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("too many entries: %v", err)
	}
	if _, err := Parse(strings.NewReader("1.2.3.4 " + strings.Repeat("x", maxLine))); err == nil {
		t.Error("a line without an end is taken")
	}
	if _, err := Parse(endless{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a list without an end: %v", err)
	}
}

func second[A, B any](_ A, b B) B { return b }

// endless is a list of comments.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte("# for ever\n"), len(p)/11+1)), nil
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{"192.0.2.0/24 ; SBL1\n", "1.2.3.4-1.2.3.9\r\n::1", "#\n;\n", "a\x00b", "::ffff:1.2.3.4/97"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		list, err := Parse(bytes.NewReader(text))
		if err != nil {
			return
		}
		var again strings.Builder
		for _, p := range list {
			if !p.IsValid() || p != p.Masked() || p.Addr().Is4In6() || tooWide(p) != nil {
				t.Fatalf("%q has the entry %s", text, p)
			}
			fmt.Fprintln(&again, p)
		}
		if twice, err := Parse(strings.NewReader(again.String())); err != nil || fmt.Sprint(twice) != fmt.Sprint(list) {
			t.Fatalf("%q is read as %v, and that as %v, %v", text, list, twice, err)
		}
	})
}

// slow is what a table of layers says, entry by entry.
func slow(layers [][]Entry, a netip.Addr) uint8 {
	for _, layer := range slices.Backward(layers) {
		best, class := -1, uint8(None)
		for _, e := range layer {
			if e.Prefix.Contains(a) && e.Prefix.Bits() >= best {
				best, class = e.Prefix.Bits(), e.Class
			}
		}
		if class == exempt {
			return None
		}
		if class != None {
			return class
		}
	}
	return None
}

func randomEntry(r *rand.Rand) Entry {
	class := uint8(First + r.IntN(5))
	if r.IntN(8) == 0 {
		class = exempt
	}
	if r.IntN(2) == 0 {
		var a [4]byte
		binary.BigEndian.PutUint32(a[:], uint32(r.IntN(4))<<30|uint32(r.IntN(1024)))
		return Entry{netip.PrefixFrom(netip.AddrFrom4(a), r.IntN(33)).Masked(), class}
	}
	a := [16]byte{0: byte(r.IntN(2) * 255), 7: byte(r.IntN(3)), 8: byte(r.IntN(2) * 255), 15: byte(r.Uint32())}
	return Entry{netip.PrefixFrom(netip.AddrFrom16(a), r.IntN(129)).Masked(), class}
}

// TestTableModel: a table says of every address what its layers say, also after it was written and read.
func TestTableModel(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 7))
	for round := range 400 {
		layers := make([][]Entry, 1+r.IntN(4))
		b := NewBuilder()
		for i := range 5 {
			b.Class(Class{Kind: Kind(i % int(kindCount)), Name: fmt.Sprint("class-", i), Pass: i%2 == 0})
		}
		var all []Entry
		for i := range layers {
			for range r.IntN(20) {
				layers[i] = append(layers[i], randomEntry(r))
			}
			b.Layer(layers[i])
			all = append(all, layers[i]...)
		}
		table := b.Table()
		encoded := table.Encode()
		read, print, err := Decode(bytes.NewReader(encoded))
		if err != nil || print != Fingerprint(encoded) || !bytes.Equal(read.Encode(), encoded) {
			t.Fatalf("round %d: written and read it is another table: %v", round, err)
		}
		for _, e := range all {
			for _, a := range []netip.Addr{e.Prefix.Addr(), e.Prefix.Addr().Prev(), lastOf(e.Prefix), lastOf(e.Prefix).Next()} {
				if !a.IsValid() || a.Is4In6() {
					continue
				}
				if got, want := read.Lookup(a), slow(layers, a); got != want {
					t.Fatalf("round %d: %s has class %d, want %d", round, a, got, want)
				}
			}
		}
	}
}

func FuzzDecode(f *testing.F) {
	b := NewBuilder()
	b.Layer(Entries([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/65")}, b.Class(Class{Name: "a"})))
	f.Add(b.Table().Encode())
	f.Add((&Table{}).Encode())
	f.Add([]byte(magic))
	f.Fuzz(func(t *testing.T, data []byte) {
		table, print, err := Decode(bytes.NewReader(data))
		if err != nil {
			return
		}
		if again, _, err := Decode(bytes.NewReader(table.Encode())); err != nil || !bytes.Equal(again.Encode(), table.Encode()) || len(print) != 64 {
			t.Fatalf("read and written it cannot be read: %v", err)
		}
	})
}

// TestDecodeRefuses: what was not written by Encode, wherever it is cut or changed.
func TestDecodeRefuses(t *testing.T) {
	b := NewBuilder()
	b.Layer(Entries([]netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::/32")}, b.Class(Class{Name: "drop"})))
	whole := b.Table().Encode()
	for i := range whole {
		if _, _, err := Decode(bytes.NewReader(whole[:i])); err == nil {
			t.Errorf("%d of %d bytes are enough", i, len(whole))
		}
		changed := bytes.Clone(whole)
		changed[i] ^= 4
		if _, _, err := Decode(bytes.NewReader(changed)); err == nil {
			t.Errorf("a change of byte %d is not seen", i)
		}
	}
}

// TestClassesRunOut: then rules of a kind share a number, and none has one of another kind.
func TestClassesRunOut(t *testing.T) {
	b := NewBuilder()
	var last [kindCount]uint8
	for i := range 600 {
		kind := Kind(i % int(kindCount))
		last[kind] = b.Class(Class{Kind: kind, Name: fmt.Sprint(i)})
	}
	if n := len(b.table.Classes); n > maxClasses {
		t.Fatalf("there are %d classes", n)
	}
	for kind, class := range last {
		if c := b.table.Classes[class-First]; c.Kind != Kind(kind) || c.Name != "others" {
			t.Errorf("the last of kind %d is %+v", kind, c)
		}
	}
}
