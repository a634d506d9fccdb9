// Package update is the file that brings a box to another version, breakwater_VERSION.update. It is a plain tar with
// these entries, in this order and no others:
//
//	SHA256SUMS        of the files below, as sha256sum(1) writes it
//	SHA256SUMS.sig    its Ed25519 signature (RFC 8032), 64 bytes
//	release.json      {"version": "20261129.090833", "schema": 1, "notes": "…"}
//	breakwater_VERSION.verity.UUID.raw.gz, breakwater_VERSION.root.UUID.raw, breakwater_VERSION.efi
//
// It can be looked into without Breakwater:
//
//	tar xf breakwater_VERSION.update && sha256sum -c SHA256SUMS
//	openssl pkeyutl -verify -pubin -inkey update.pub -rawin -in SHA256SUMS -sigfile SHA256SUMS.sig
//
// There is one way to write an update, and what differs from it by a bit is refused: nothing is believed before the
// signature was verified, and no file is used whose sum is not that of SHA256SUMS. image/pack writes updates; control
// reads them when they arrive, and a unit with the rights of root once more, as it does not believe control.
package update

import (
	"fmt"
	"regexp"
)

const (
	// Extension is that of the file's name.
	Extension = ".update"
	// MaxSize bounds an update, in bytes.
	MaxSize = 1 << 30
	// MaxNotes bounds the notes of a release, in bytes.
	MaxNotes = 16 << 10

	sumsName      = "SHA256SUMS"
	signatureName = "SHA256SUMS.sig"
	releaseName   = "release.json"

	maxSums    = 4 << 10
	maxRelease = 128 << 10 // JSON may write a letter with six bytes
	maxVerity  = 16 << 20
	maxEFI     = 256 << 20
)

// Release is what an update says of itself.
type Release struct {
	Version string `json:"version"` // the time of its commit, such as 20261129.090833: versions compare as text
	Schema  int    `json:"schema"`  // of the settings that it writes
	Notes   string `json:"notes"`   // what is new, for people; empty: nothing is told
}

// Fault is why a file is no update for this box. The zero value is none.
type Fault int

// The faults.
const (
	NotAnUpdate  Fault = iota + 1
	BadSignature       // signed by somebody else, or SHA256SUMS is damaged
	CutShort
	Damaged // what was signed is not what is there
	TooLarge
	Same  // as what runs
	Older // than what runs
)

// Error is a file that is refused, with one sentence for people.
type Error struct {
	Fault Fault
	Text  string
}

func (e *Error) Error() string { return e.Text }

func fault(f Fault, format string, arguments ...any) error {
	return &Error{f, fmt.Sprintf(format, arguments...)}
}

var version = regexp.MustCompile(`^[0-9]{8}\.[0-9]{6}$`)

// IsVersion tells whether text is a version: the date and time of a commit, in UTC.
func IsVersion(text string) bool { return version.MatchString(text) }

// Admit refuses what must not replace the version that runs: an *Error with Same or Older. A release with an older
// schema of the settings could not read those of the box.
func (r Release) Admit(running string, schema int) error {
	switch {
	case r.Version == running:
		return fault(Same, "version %s runs already", r.Version)
	case r.Version < running:
		return fault(Older, "version %s is older than %s, which runs; a box does not go back by an update", r.Version, running)
	case r.Schema < schema:
		return fault(Older, "version %s knows settings up to schema %d, and this box has schema %d", r.Version, r.Schema, schema)
	}
	return nil
}
