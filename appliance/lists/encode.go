package lists

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
)

// MaxEncoded bounds the binary form, in bytes: six for a span of IPv4 at most, and far less than 12 for those of IPv6.
const MaxEncoded = 128 << 20

// magic begins the binary form, with its version.
const magic = "BWLISTS1"

// Encode writes the binary form: the classes, then for each family its spans as distances, last a SHA-256 of all before. Equal
// tables are equal bytes.
func (t *Table) Encode() []byte {
	out := []byte(magic)
	out = binary.AppendUvarint(out, uint64(len(t.Classes)))
	for _, c := range t.Classes {
		pass := byte(0)
		if c.Pass {
			pass = 1
		}
		out = append(out, byte(c.Kind), pass)
		out = binary.AppendUvarint(out, uint64(len(c.Name)))
		out = append(out, c.Name...)
	}
	for _, spans := range [][]Span{t.V4, t.V6} {
		out = binary.AppendUvarint(out, uint64(len(spans)))
		var last Key
		for _, s := range spans {
			lo := s.From.Lo
			if s.From.Hi == last.Hi {
				lo -= last.Lo
			}
			out = binary.AppendUvarint(out, s.From.Hi-last.Hi)
			out = binary.AppendUvarint(out, lo)
			out = append(out, s.Class)
			last = s.From
		}
	}
	sum := sha256.Sum256(out)
	return append(out, sum[:]...)
}

// Fingerprint is the checksum at the end of an encoded table, in hex.
func Fingerprint(encoded []byte) string {
	if len(encoded) < sha256.Size {
		return ""
	}
	return hex.EncodeToString(encoded[len(encoded)-sha256.Size:])
}

var errNotWhole = errors.New("the table of lists is not whole")

// Decode reads what Encode wrote, and gives its fingerprint. It never reads beyond MaxEncoded bytes.
func Decode(in io.Reader) (*Table, string, error) {
	d := decoder{in: bufio.NewReaderSize(io.LimitReader(in, MaxEncoded), 1<<16), sum: sha256.New()}
	t := d.table()
	sum := d.sum.Sum(nil)
	var said [sha256.Size]byte
	if d.failed == nil {
		_, d.failed = io.ReadFull(d.in, said[:])
	}
	if d.failed == nil && !bytes.Equal(said[:], sum) {
		d.failed = errors.New("its checksum is another")
	}
	if _, err := d.in.ReadByte(); d.failed == nil && !errors.Is(err, io.EOF) {
		d.failed = errors.New("it goes on behind its end")
	}
	if d.failed != nil {
		return nil, "", fmt.Errorf("%w: %w", errNotWhole, d.failed)
	}
	return t, hex.EncodeToString(sum), nil
}

// decoder reads until something failed, and then only zeros.
type decoder struct {
	in     *bufio.Reader
	sum    hash.Hash
	taken  []byte // not yet in sum
	failed error
}

func (d *decoder) table() *Table {
	if string(d.bytes(len(magic))) != magic {
		d.fail("it is of another version, or something else")
	}
	var t Table
	t.Classes = d.classes()
	t.V4 = d.spans(len(t.Classes), last4)
	t.V6 = d.spans(len(t.Classes), last6)
	d.flush()
	return &t
}

func (d *decoder) classes() []Class {
	n := d.upTo(maxClasses, "classes")
	var list []Class
	for range n {
		kind, pass := d.byte(), d.byte()
		if kind >= byte(kindCount) || pass > 1 {
			d.fail("a class is of no known kind")
		}
		name := d.bytes(d.upTo(255, "bytes of a name"))
		if d.failed != nil {
			return nil
		}
		list = append(list, Class{Kind(kind), string(name), pass == 1})
	}
	return list
}

func (d *decoder) spans(classes int, end Key) []Span {
	n := d.upTo(maxSpans, "spans")
	var list []Span
	var last Key
	for i := range n {
		hi, lo, class := d.number(), d.number(), d.byte()
		at := Key{last.Hi + hi, lo}
		if hi == 0 {
			at.Lo += last.Lo
		}
		inOrder := at.Compare(last) > 0 || i == 0 && at == Key{}
		if !inOrder || at.Hi < last.Hi || end.Compare(at) < 0 {
			d.fail("its spans are not in order")
		}
		if class != None && (class < First || int(class) >= First+classes) {
			d.fail("a span is of no known class")
		}
		if d.failed != nil {
			return nil
		}
		if i == 0 && at != (Key{}) {
			d.fail("it does not begin with the first address")
		}
		if list == nil {
			list = make([]Span, 0, min(n, 1<<16)) // n may be a lie
		}
		list = append(list, Span{at, class})
		last = at
	}
	return list
}

func (d *decoder) fail(why string) {
	if d.failed == nil {
		d.failed = errors.New(why)
	}
}

func (d *decoder) upTo(most int, what string) int {
	n := d.number()
	if n > uint64(most) {
		d.fail(fmt.Sprintf("it has %d %s, at most %d are possible", n, what, most))
		return 0
	}
	return int(n)
}

func (d *decoder) byte() byte {
	b, err := d.ReadByte()
	if err != nil && d.failed == nil {
		d.failed = err
	}
	return b
}

// ReadByte is for binary.ReadUvarint.
func (d *decoder) ReadByte() (byte, error) {
	if d.failed != nil {
		return 0, d.failed
	}
	b, err := d.in.ReadByte()
	if err != nil {
		return 0, err
	}
	if d.taken = append(d.taken, b); len(d.taken) >= 1<<12 {
		d.flush()
	}
	return b, nil
}

func (d *decoder) flush() {
	d.sum.Write(d.taken)
	d.taken = d.taken[:0]
}

func (d *decoder) number() uint64 {
	n, err := binary.ReadUvarint(d)
	if err != nil && d.failed == nil {
		d.failed = err
	}
	if d.failed != nil {
		return 0
	}
	return n
}

func (d *decoder) bytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = d.byte()
	}
	return b
}
