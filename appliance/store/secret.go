package store

import (
	"fmt"
	"io"
	"log/slog"
)

// Secret is kept in records and shown nowhere: however it is printed or logged, by itself or inside a struct, it says
// that it is redacted. string(s) is the secret.
type Secret string

const redacted = "[redacted]"

// Format prints for every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue is what slog writes.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
