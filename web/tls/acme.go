package tls

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"

	"breakwater/appliance/settings"
)

const (
	acmeDir = "acme" // certmagic's files: accounts, keys, certificates
	// solverPort is where certmagic listens on 127.0.0.1 while a name is checked. It insists on a listener of its own;
	// authorities reach ours, and nobody needs this one.
	solverPort = 61443
	// maxCheck is how long after its begin an attempt is taken to be over, whether or not its end was heard of.
	maxCheck = 10 * time.Minute
	// retryWait is how long to wait when certmagic gives up, which it does for faults of the box such as a full disk.
	// Refusals of the authority it retries by itself, after 1 minute at first and then ever more slowly.
	retryWait = 10 * time.Minute
)

// authority gets certificates for names from one directory, one certificate for each name, and renews them. A nil one
// has none.
type authority struct {
	names     []string
	email     string
	directory string
	log       *slog.Logger

	cache  *certmagic.Cache
	config *certmagic.Config
	cancel context.CancelFunc
	ended  sync.WaitGroup

	mu       sync.Mutex
	problems map[string]string    // by name: what the last attempt came to, when it came to nothing
	pairs    map[string]*pair     // by name: the last that was served
	attempts map[string]time.Time // by name: when the attempt that goes on began
}

// SetACME gets certificates for the names from the directory, a URL, in the background; with no directory it stops to.
// The email address is told to the authority; without one it is the last that was given, as certmagic remembers it.
// Asked for what is already so, it does nothing.
//
// Names are proven by TLS-ALPN-01 (RFC 8737) alone: the authority connects to port 443 of the name, and that must lead
// to a listener that serves Config. What fails is a condition, and the other certificates are served meanwhile.
func (c *Certificates) SetACME(names []string, email, directory string) error {
	c.changing.Lock()
	defer c.changing.Unlock()
	names = certifiable(names, directory)
	if a := c.authority(); a.is(names, email, directory) {
		return nil
	}
	if directory == "" {
		c.replaceAuthority(nil)
		return nil
	}
	c.replaceAuthority(openAuthority(c.dir, c.log, names, email, directory))
	return nil
}

// certifiable are the names that a certificate can be asked for. The settings list those of the home network beside
// those of the Internet, and a public authority certifies only the latter.
func certifiable(names []string, directory string) []string {
	names = slices.Clone(names)
	if directory != settings.LetsEncrypt {
		return names
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return !strings.Contains(name, ".") || !certmagic.SubjectQualifiesForPublicCert(name)
	})
}

// replaceAuthority puts a in place, then ends the one before, which takes as long as its last question.
func (c *Certificates) replaceAuthority(a *authority) {
	c.mu.Lock()
	old := c.acme
	c.acme = a
	c.mu.Unlock()
	if old != nil {
		c.ending.Go(old.close)
	}
}

func openAuthority(dir string, log *slog.Logger, names []string, email, directory string) *authority {
	ctx, cancel := context.WithCancel(context.Background())
	a := &authority{
		names: names, email: email, directory: directory, log: log,
		cancel: cancel, problems: make(map[string]string), pairs: make(map[string]*pair), attempts: make(map[string]time.Time),
	}
	quiet := zap.NewNop() // what matters comes as an event
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return a.config, nil },
		Logger:           quiet,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{
		Storage: &certmagic.FileStorage{Path: filepath.Join(dir, acmeDir)},
		OCSP:    certmagic.OCSPConfig{DisableStapling: true}, // authorities give it up, and each answer is a call home
		OnEvent: a.event,
		Logger:  quiet,
	})
	a.config.Issuers = []certmagic.Issuer{certmagic.NewACMEIssuer(a.config, certmagic.ACMEIssuer{
		CA: directory, Email: email, Agreed: true,
		DisableHTTPChallenge: true, DisableDistributedSolvers: true,
		ListenHost: "127.0.0.1", AltTLSALPNPort: solverPort,
		Logger: quiet,
	})}
	for _, name := range names {
		a.ended.Go(func() { a.manage(ctx, name) })
	}
	return a
}

func (a *authority) close() {
	a.cancel()
	a.ended.Wait()
	a.cache.Stop()
}

// is tells whether a is what is asked for.
func (a *authority) is(names []string, email, directory string) bool {
	if a == nil {
		return directory == ""
	}
	return slices.Equal(a.names, names) && a.email == email && a.directory == directory
}

// manage gets the certificate of one name into the cache, which renews it from then on.
func (a *authority) manage(ctx context.Context, name string) {
	for {
		err := a.obtain(ctx, name)
		if err == nil || ctx.Err() != nil {
			return
		}
		a.failed(name, err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryWait):
		}
	}
}

func (a *authority) obtain(ctx context.Context, name string) error {
	_, err := a.config.CacheManagedCertificate(ctx, name)
	if err == nil {
		// The box may have been off for long; the cache would look only in ten minutes.
		return a.cache.RenewManagedCertificates(ctx)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := a.config.ObtainCertAsync(ctx, name); err != nil {
		return err
	}
	_, err = a.config.CacheManagedCertificate(ctx, name)
	return err
}

// event hears of certmagic how each attempt goes.
func (a *authority) event(_ context.Context, event string, data map[string]any) error {
	name, _ := data["identifier"].(string)
	switch event {
	case "cert_obtaining":
		a.mu.Lock()
		defer a.mu.Unlock()
		a.attempts[name] = time.Now()
	case "cert_failed":
		err, _ := data["error"].(error)
		a.failed(name, err)
	case "cert_obtained":
		a.log.Info("certificate obtained by ACME", "name", name)
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.attempts, name)
		delete(a.problems, name)
	}
	return nil
}

// checking tells whether an attempt goes on, and with it perhaps a check.
func (a *authority) checking(now time.Time) bool {
	if a == nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, began := range a.attempts {
		if now.Sub(began) < maxCheck {
			return true
		}
	}
	return false
}

func (a *authority) failed(name string, err error) {
	if errors.Is(err, context.Canceled) {
		return
	}
	text := reasonOf(err)
	a.log.Warn("no certificate by ACME", "name", name, "err", text)
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.attempts, name)
	a.problems[name] = text
}

// reasonOf is what the authority says, without certmagic's account of where it was said.
func reasonOf(err error) string {
	if problem, ok := errors.AsType[acme.Problem](err); ok {
		return printable(cmp.Or(problem.Detail, problem.Title, problem.Type))
	}
	if err == nil {
		return "no reason given"
	}
	return printable(err.Error())
}

// failures are the problems by name, a copy.
func (a *authority) failures() map[string]string {
	if a == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return maps.Clone(a.problems)
}

// pair is the certificate for a name that ends last, or nil.
func (a *authority) pair(name string) *pair {
	if a == nil || !slices.Contains(a.names, name) {
		return nil
	}
	var best *certmagic.Certificate
	for _, certificate := range a.cache.AllMatchingCertificates(name) {
		if certificate.Leaf != nil && (best == nil || certificate.Leaf.NotAfter.After(best.Leaf.NotAfter)) {
			best = &certificate
		}
	}
	if best == nil {
		return nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.pairs[name]; old == nil || !old.leaf.Equal(best.Leaf) {
		a.pairs[name] = newPair(best.Certificate)
	}
	return a.pairs[name]
}
