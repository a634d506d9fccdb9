package lists

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// MaxGeo bounds a file about addresses, in bytes. Those that name every city have about 100 MB.
const MaxGeo = 256 << 20

// ErrNotGeo is a file that says neither countries nor AS numbers.
var ErrNotGeo = errors.New("the file says neither which country nor which AS number addresses have; it must be an MMDB file of one of them")

// Geo is a file that says which country or AS number addresses have, in the MMDB format. What it is called and how it words its
// records differs: those of MaxMind, DB-IP and IPinfo are understood.
type Geo struct {
	reader *maxminddb.Reader
	about  map[uintptr]record // records by where they are: many networks share one

	Countries, Networks int       // how many networks have one
	Type                string    // as the file calls itself
	Description         string    // its own words, which name the licence where there is one
	Built               time.Time // by whoever made it
}

// record is what a file says of a network.
type record struct {
	country string
	asn     uint32
}

// OpenGeo reads a file, all of it: what is broken in it is the error. The caller closes it.
func OpenGeo(path string) (*Geo, error) {
	reader, err := maxminddb.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the file cannot be read as MMDB: %w", err)
	}
	g := &Geo{reader: reader, about: make(map[uintptr]record), Type: shortenTo(reader.Metadata.DatabaseType, 100),
		Description: describe(reader.Metadata.Description), Built: builtAt(uint64(reader.Metadata.BuildEpoch))}
	err = g.each(func(_ netip.Prefix, r record) {
		if r.country != "" {
			g.Countries++
		}
		if r.asn != 0 {
			g.Networks++
		}
	})
	if err == nil && g.Countries == 0 && g.Networks == 0 {
		err = ErrNotGeo
	}
	if err != nil {
		return nil, errors.Join(err, reader.Close())
	}
	return g, nil
}

// Close gives the file back.
func (g *Geo) Close() error { return g.reader.Close() }

// builtAt is the zero time where a file says nonsense: a year of more than four digits has no form in JSON (RFC 3339).
func builtAt(epoch uint64) time.Time {
	if last := time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC); epoch > uint64(last.Unix()) {
		return time.Time{}
	}
	return time.Unix(int64(epoch), 0).UTC() //nolint:gosec // bounded
}

func describe(words map[string]string) string {
	text := words["en"]
	for _, other := range words {
		if text == "" {
			text = other
		}
	}
	return shortenTo(text, 1000)
}

// OfCountries are entries for all networks whose country has a class; None: it has none.
func (g *Geo) OfCountries(class func(code string) uint8) ([]Entry, error) {
	return g.entries(func(r record) uint8 {
		if r.country == "" {
			return None
		}
		return class(r.country)
	})
}

// OfNetworks are entries for all networks whose AS number has a class; None: it has none.
func (g *Geo) OfNetworks(class func(asn uint32) uint8) ([]Entry, error) {
	return g.entries(func(r record) uint8 {
		if r.asn == 0 {
			return None
		}
		return class(r.asn)
	})
}

func (g *Geo) entries(class func(record) uint8) (list []Entry, err error) {
	err = g.each(func(p netip.Prefix, r record) {
		if c := class(r); c != None {
			list = append(list, Entry{p, c})
		}
	})
	return list, err
}

func (g *Geo) each(do func(netip.Prefix, record)) error {
	count := 0
	for network := range g.reader.Networks() {
		if err := network.Err(); err != nil {
			return fmt.Errorf("the file is broken: %w", err)
		}
		r, known := g.about[network.Offset()]
		if !known {
			var err error
			if r, err = readRecord(network); err != nil {
				return fmt.Errorf("the file is broken at %s: %w", network.Prefix(), err)
			}
			g.about[network.Offset()] = r
		}
		if count++; count > maxSpans/2 {
			return fmt.Errorf("the file has more than %d networks", maxSpans/2)
		}
		do(network.Prefix(), r)
	}
	return nil
}

func readRecord(network maxminddb.Result) (r record, err error) {
	var whole any
	if err := network.Decode(&whole); err != nil {
		return r, err
	}
	fields, ok := whole.(map[string]any)
	if !ok {
		return r, errors.New("a record is no map")
	}
	for _, name := range []string{"country", "country_code", "registered_country"} {
		if r.country == "" {
			r.country = countryOf(fields[name])
		}
	}
	for _, name := range []string{"autonomous_system_number", "asn"} {
		if r.asn == 0 {
			r.asn = asnOf(fields[name])
		}
	}
	return r, nil
}

// countryOf reads "DE", or {"iso_code": "DE"}.
func countryOf(value any) string {
	if inner, ok := value.(map[string]any); ok {
		value = inner["iso_code"]
	}
	code, _ := value.(string)
	if len(code) != 2 {
		return "" // a name, which some files have under country beside country_code
	}
	return strings.ToUpper(code)
}

// asnOf reads 64496 or "AS64496".
func asnOf(value any) uint32 {
	switch v := value.(type) {
	case uint64:
		return uint32(v)
	case string:
		n, err := strconv.ParseUint(strings.TrimPrefix(v, "AS"), 10, 32)
		if err != nil {
			return 0
		}
		return uint32(n)
	}
	return 0
}
