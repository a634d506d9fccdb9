package lists

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
)

// The most that one list may have.
const (
	MaxSize    = 64 << 20 // bytes
	MaxEntries = 2_000_000
	// maxLine bounds a line; comments of real lists have a few hundred bytes.
	maxLine = 4096
	// maxBroken is how many broken lines are told one by one.
	maxBroken = 100
	// The widest prefixes: an entry that holds more is a mistake, or an attack by whoever wrote the list.
	widest4, widest6 = 8, 16
)

// Broken is a line that is no entry.
type Broken struct {
	Line int    `json:"line"` // from 1
	Text string `json:"text"` // what is there, shortened
	Why  string `json:"why"`  // a sentence
}

// Unusable is a list with broken lines.
type Unusable struct {
	Lines []Broken // the first of them
	Count int      // of all
}

func (e *Unusable) Error() string {
	return fmt.Sprintf("the list has %d broken lines, the first is line %d: %s", e.Count, e.Lines[0].Line, e.Lines[0].Why)
}

// ErrTooLarge is a list beyond the bounds.
var ErrTooLarge = fmt.Errorf("the list is too large: it may have %d entries and %d MiB", MaxEntries, MaxSize>>20)

// ErrEmpty is a list without an entry: a server's empty answer must not take the place of a good list.
var ErrEmpty = errors.New("the list has no entry")

// Parse reads a list: on each line an address, a prefix, or the first and last address of a range with a hyphen between. What
// follows # or ; is a comment, and so is what follows the first word in lines of blanks, tabs or commas (as in "192.0.2.0/24 ;
// SBL1", "192.0.2.0/24,US"). A prefix with bits behind its length is the network that it is in. The errors are *Unusable with
// every broken line, ErrTooLarge, ErrEmpty and those of in.
func Parse(in io.Reader) ([]netip.Prefix, error) {
	limited := &io.LimitedReader{R: in, N: MaxSize + 1}
	lines := bufio.NewScanner(limited)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	var list []netip.Prefix
	var broken Unusable
	line := 0
	for lines.Scan() {
		line++
		entry := entryOf(lines.Text())
		if entry == "" {
			continue
		}
		var why error
		if list, why = appendEntry(list, entry); why != nil {
			broken.add(Broken{line, shorten(entry), why.Error()})
		}
		if len(list) > MaxEntries {
			return nil, ErrTooLarge
		}
	}
	err := lines.Err()
	switch {
	case limited.N <= 0:
		return nil, ErrTooLarge
	case errors.Is(err, bufio.ErrTooLong):
		// What comes behind cannot be told from the rest of this line.
		broken.add(Broken{line + 1, "", fmt.Sprintf("This line has more than %d bytes, so the rest was not read.", maxLine)})
	case err != nil:
		return nil, fmt.Errorf("read the list: %w", err)
	}
	if broken.Count > 0 {
		return nil, &broken
	}
	if len(list) == 0 {
		return nil, ErrEmpty
	}
	return list, nil
}

func (e *Unusable) add(b Broken) {
	if e.Count++; len(e.Lines) < maxBroken {
		e.Lines = append(e.Lines, b)
	}
}

// entryOf cuts comments off, and the byte order mark that some editors write first.
func entryOf(line string) string {
	line = strings.TrimPrefix(line, "\ufeff")
	if i := strings.IndexAny(line, "#;"); i >= 0 {
		line = line[:i]
	}
	line = strings.TrimSpace(line)
	if first, last, ok := strings.Cut(line, " - "); ok { // a range with blanks around its hyphen
		last, _, _ = strings.Cut(strings.TrimSpace(last), " ")
		return strings.TrimSpace(first) + "-" + last
	}
	if i := strings.IndexAny(line, " \t,"); i >= 0 {
		line = line[:i]
	}
	return line
}

func appendEntry(list []netip.Prefix, text string) ([]netip.Prefix, error) {
	if first, last, ok := strings.Cut(text, "-"); ok {
		return appendRange(list, first, last)
	}
	p, err := prefixOf(text)
	if err != nil {
		return list, err
	}
	return append(list, p), tooWide(p)
}

func prefixOf(text string) (netip.Prefix, error) {
	a, err := netip.ParseAddr(text)
	if err == nil && a.Zone() == "" {
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, errors.New("This is not an address, a network or a range.") //nolint:staticcheck // a sentence for people
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, errors.New("This network holds all IPv4 addresses.") //nolint:staticcheck // as above
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p.Masked(), nil
}

func tooWide(p netip.Prefix) error {
	widest := widest6
	if p.Addr().Is4() {
		widest = widest4
	}
	if p.Bits() < widest {
		return fmt.Errorf("The network %s is too wide for a list: /%d is the widest.", p, widest) //nolint:staticcheck // as above
	}
	return nil
}

// appendRange adds the prefixes that a range is made of.
func appendRange(list []netip.Prefix, first, last string) ([]netip.Prefix, error) {
	from, errFrom := netip.ParseAddr(first)
	to, errTo := netip.ParseAddr(last)
	from, to = from.Unmap(), to.Unmap()
	if errFrom != nil || errTo != nil || from.BitLen() != to.BitLen() || from.Zone() != "" || to.Zone() != "" {
		return list, errors.New("This is not a range of two addresses.") //nolint:staticcheck // as above
	}
	if to.Less(from) {
		return list, errors.New("This range ends before it begins.") //nolint:staticcheck // as above
	}
	for {
		p := longest(from, to)
		if err := tooWide(p); err != nil {
			return list, err
		}
		list = append(list, p)
		end := lastOf(p)
		if end == to {
			return list, nil
		}
		from = end.Next()
	}
}

// longest is the widest prefix that begins with from and does not go beyond to.
func longest(from, to netip.Addr) netip.Prefix {
	bits := from.BitLen()
	for bits > 0 {
		p := netip.PrefixFrom(from, bits-1)
		if p.Masked().Addr() != from || to.Less(lastOf(p)) {
			break
		}
		bits--
	}
	return netip.PrefixFrom(from, bits)
}

// shorten bounds what is repeated of a line, and keeps what cannot be shown out of it.
func shorten(text string) string { return shortenTo(text, 60) }

func shortenTo(text string, most int) string {
	if len(text) > most {
		text = text[:most] + "…"
	}
	return strings.ToValidUTF8(text, "?")
}
