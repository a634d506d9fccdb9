package status

import (
	"fmt"
	"strconv"
)

// ID names a session or flow while edge runs, and in its event log afterwards. It is written as 16 hex digits.
type ID uint64

// String writes 16 hex digits.
func (id ID) String() string { return fmt.Sprintf("%016x", uint64(id)) }

// MarshalText writes 16 hex digits.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads 16 hex digits.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 16 {
		return fmt.Errorf("a session id has 16 hex digits, %q has %d characters", text, len(text))
	}
	n, err := strconv.ParseUint(string(text), 16, 64)
	if err != nil {
		return fmt.Errorf("a session id has 16 hex digits: %w", err)
	}
	*id = ID(n)
	return nil
}
