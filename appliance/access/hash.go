package access

import (
	"context"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"runtime/debug"
	"strings"
	"time"

	"golang.org/x/crypto/argon2"
	"golang.org/x/text/unicode/norm"

	"breakwater/appliance/store"
)

// The cost of a password: the first of the equal choices in OWASP's Password Storage Cheat Sheet.
const (
	argonMemory  = 19 * 1024 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16 // bytes
	argonKey     = 32

	// maxMemory, maxTime and maxThreads bound what a stored hash may ask for.
	maxMemory, maxTime, maxThreads = 256 * 1024, 16, 16

	// hashQueue is how many strangers may wait for a hash to begin, and knownQueue how many who are signed in; one takes
	// about 20 ms.
	hashQueue  = 16
	knownQueue = 4
	// busyWait is what those beyond are told to wait.
	busyWait = 2 * time.Second
)

// hasher bounds the memory and the time that password hashes take, as strangers can ask for them.
type hasher struct {
	memory  uint32 // KiB of a new hash
	running chan struct{}

	// Places, running or waiting. Those who are signed in have their own: strangers can take all of theirs.
	strangers, known chan struct{}
}

func newHasher(atOnce int) *hasher {
	return &hasher{
		memory: argonMemory, running: make(chan struct{}, atOnce),
		strangers: make(chan struct{}, atOnce+hashQueue), known: make(chan struct{}, knownQueue),
	}
}

// blank is a hash that is yet to be computed.
func (h *hasher) blank() phc {
	return phc{memory: h.memory, time: argonTime, threads: argonThreads, salt: newRandom(argonSalt), key: make([]byte, argonKey)}
}

// enter takes one of the places, strangers or known, and waits until its hash can begin; leave must be called when there
// is no error.
func (h *hasher) enter(ctx context.Context, places chan struct{}) error {
	select {
	case places <- struct{}{}:
	default:
		return &Throttled{After: busyWait}
	}
	select {
	case h.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		<-places
		return fmt.Errorf("wait for the password check: %w", ctx.Err())
	}
}

func (h *hasher) leave(places chan struct{}) {
	<-h.running
	<-places
}

// compute hashes and gives the memory back at once. The collector would let the blocks of several hashes pile up before
// it looks: a few logins in a row took 100 MB. It costs a few milliseconds and must be called between enter and leave.
func (h *hasher) compute(p phc, password string) []byte {
	key := p.compute(password)
	if p.memory >= argonMemory {
		debug.FreeOSMemory()
	}
	return key
}

// hash makes a new hash in the PHC format, $argon2id$v=19$m=19456,t=2,p=1$SALT$KEY.
func (h *hasher) hash(ctx context.Context, places chan struct{}, password string) (store.Secret, error) {
	if err := h.enter(ctx, places); err != nil {
		return "", err
	}
	defer h.leave(places)
	p := h.blank()
	p.key = h.compute(p, password)
	return store.Secret(p.String()), nil
}

// fits tells whether password is the one of the hash. An empty hash takes the same time and fits nothing.
func (h *hasher) fits(ctx context.Context, places chan struct{}, hash store.Secret, password string) (bool, error) {
	p, ok := parsePHC(string(hash))
	if !ok {
		p = h.blank()
	}
	if err := h.enter(ctx, places); err != nil {
		return false, err
	}
	defer h.leave(places)
	same := subtle.ConstantTimeCompare(h.compute(p, password), p.key) == 1
	return same && ok, nil
}

// phc is a password hash with what is needed to compute it again.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// compute hashes the password in Unicode's form NFC: the same letters come in several forms from several keyboards.
func (p phc) compute(password string) []byte {
	return argon2.IDKey(norm.NFC.Bytes([]byte(password)), p.salt, p.time, p.memory, p.threads, uint32(len(p.key)))
}

func (p phc) String() string {
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.memory, p.time, p.threads,
		base64.RawStdEncoding.EncodeToString(p.salt), base64.RawStdEncoding.EncodeToString(p.key))
}

func parsePHC(text string) (p phc, ok bool) {
	parts := strings.Split(text, "$")
	if len(parts) != 6 || parts[1] != "argon2id" || parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return phc{}, false
	}
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &p.memory, &p.time, &p.threads); err != nil {
		return phc{}, false
	}
	var saltErr, keyErr error
	p.salt, saltErr = base64.RawStdEncoding.DecodeString(parts[4])
	p.key, keyErr = base64.RawStdEncoding.DecodeString(parts[5])
	sound := saltErr == nil && keyErr == nil && len(p.salt) >= 8 && len(p.key) >= 16 && len(p.key) <= 64 &&
		p.memory <= maxMemory && p.time >= 1 && p.time <= maxTime && p.threads >= 1 && p.threads <= maxThreads
	return p, sound
}
