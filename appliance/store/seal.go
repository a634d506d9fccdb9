package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
)

// A sealed record is a line of JSON, the document as it is, and a line with the SHA-256 of all before it. bbolt has no
// checksum over its data pages, so this is what finds a flipped bit in one. A record is a stream of JSON values, and
// its middle is the document to the byte:
//
//	{"number":7,"author":"local","reason":"…","time":"…"}
//	{ "schema": 1, … }
//	{"sha256":"…"}
const (
	trailerStart  = "\n{\"sha256\":\""
	trailerEnd    = "\"}\n"
	trailerLength = len(trailerStart) + 2*sha256.Size + len(trailerEnd)
)

var errSeal = errors.New("the checksum does not fit the content")

// seal writes header and document as one record.
func seal(header any, document []byte) ([]byte, error) {
	line, err := json.Marshal(header)
	if err != nil {
		return nil, err
	}
	record := append(append(line, '\n'), document...)
	return append(record, trailer(record)...), nil
}

// unseal checks a record, reads its header into header and returns its document, which shares record's memory.
func unseal(record []byte, header any) ([]byte, error) {
	split := len(record) - trailerLength
	if split < 0 || !bytes.Equal(record[split:], trailer(record[:split])) {
		return nil, errSeal
	}
	line, document, _ := bytes.Cut(record[:split], []byte("\n"))
	if err := json.Unmarshal(line, header); err != nil {
		return nil, fmt.Errorf("read header: %w", err)
	}
	return document, nil
}

func trailer(content []byte) []byte {
	sum := sha256.Sum256(content)
	return []byte(trailerStart + hex.EncodeToString(sum[:]) + trailerEnd)
}
