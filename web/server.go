// Package web is the box on HTTP: the pages for people, the API for programs and the command line. routes.go puts the
// site maps of api/ and pages/ together, guard.go is the wall around them, server.go the ways in.
//
//	s, err := web.Listen(web.Options{Control: c, Access: a, Certificates: t, Socket: "/run/breakwater/control.sock", Address: ":443"})
//	err = s.Serve(ctx) // until ctx ends
//
// There are two ways in. Whoever can open the unix socket, mode 0600, is an administrator. The network way is TLS; it
// needs the login of an account or a token, and can be bound to the management networks. Echo is used nowhere else.
package web

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/appliance/settings"
	"breakwater/web/tls"
)

const (
	headerWait = 5 * time.Second
	maxHeader  = 16 << 10
	// readWait and writeWait cover a change of the settings, for which edge has 20 s, and 20 s to go back.
	readWait   = 60 * time.Second
	writeWait  = 90 * time.Second
	idleWait   = 2 * time.Minute
	finishWait = 5 * time.Second
	// followEvery is how soon names and certificate authority follow the settings, and refreshEvery how soon the
	// certificate follows the addresses of the box.
	followEvery  = time.Second
	refreshEvery = time.Minute
)

// Options are what is shown and the ways in.
type Options struct {
	Control      *control.Control
	Access       *access.Access
	Certificates *tls.Certificates
	Log          *slog.Logger
	Socket       string // path of the unix socket
	Address      string // host:port of the TLS listener; empty: none
}

// Server is open and waits for Serve.
type Server struct {
	site    *site
	log     *slog.Logger
	servers []*http.Server
	accepts []net.Listener
	socket  string
}

// Listen opens the ways in.
func Listen(o Options) (*Server, error) {
	site, err := newSite(o)
	if err != nil {
		return nil, err
	}
	s := &Server{site: site, log: o.Log, socket: o.Socket}
	l, err := listenUnix(o.Socket)
	if err != nil {
		return nil, err
	}
	routes := site.routes()
	s.add(l, site.local(overSocket(routes)))
	if o.Address == "" {
		return s, nil
	}
	l, err = net.Listen("tcp", o.Address)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", o.Address, err), s.close())
	}
	l = tls.Limit(l, tls.LimitOptions{Allow: o.Control.MayReach, Checking: o.Certificates.Checking})
	s.add(cryptotls.NewListener(l, o.Certificates.Config()), site.outer(site.overNetwork(routes)))
	return s, nil
}

func (s *Server) add(l net.Listener, h http.Handler) {
	s.accepts = append(s.accepts, l)
	s.servers = append(s.servers, &http.Server{
		Handler:           h,
		ReadHeaderTimeout: headerWait,
		ReadTimeout:       readWait,
		WriteTimeout:      writeWait,
		IdleTimeout:       idleWait,
		MaxHeaderBytes:    maxHeader,
		ConnContext:       noteConnected,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // strangers' broken handshakes
		// net/http would answer OPTIONS * by itself, without the headers that every answer has.
		DisableGeneralOptionsHandler: true,
	})
}

// Addresses are where the server listens: the socket, and the TLS address if there is one.
func (s *Server) Addresses() []string {
	list := []string{s.socket} // its listener knows only the name it had before
	for _, l := range s.accepts[1:] {
		list = append(list, l.Addr().String())
	}
	return list
}

// Serve answers until ctx ends, lets what is being answered finish, and removes the socket.
func (s *Server) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.follow(ctx) })
	for i, server := range s.servers {
		server.BaseContext = func(net.Listener) context.Context { return ctx } // ends event streams
		g.Go(func() error {
			if err := server.Serve(s.accepts[i]); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", s.Addresses()[i], err)
			}
			return nil
		})
		g.Go(func() error {
			<-ctx.Done()
			late, cancel := context.WithTimeout(context.Background(), finishWait)
			defer cancel()
			if err := server.Shutdown(late); err != nil {
				return server.Close()
			}
			return nil
		})
	}
	err := g.Wait()
	if removeErr := os.Remove(s.socket); !errors.Is(removeErr, os.ErrNotExist) {
		err = errors.Join(err, removeErr)
	}
	return err
}

// follow keeps the certificates on the names that the settings give the box.
func (s *Server) follow(ctx context.Context) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	defer s.site.certificates.Close()
	var last settings.Management
	var refreshed time.Time
	for {
		if now := s.site.control.Management(); time.Since(refreshed) > refreshEvery || !reflect.DeepEqual(last, now) {
			last, refreshed = now, time.Now()
			s.site.useNames(now)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// close gives up before Serve.
func (s *Server) close() error {
	var err error
	for _, l := range s.accepts {
		err = errors.Join(err, l.Close())
	}
	return errors.Join(err, os.Remove(s.socket))
}

// listenUnix opens a socket that only its owner may use. A socket that a crash left behind is replaced.
func listenUnix(path string) (net.Listener, error) {
	if c, err := net.Dial("unix", path); err == nil {
		_ = c.Close() // only to see whether somebody answers
		return nil, fmt.Errorf("listen on %s: another process answers there", path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // the socket itself is protected
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	// A directory of our own hides the socket until its mode is right; bind would give it that of the umask.
	hidden, err := os.MkdirTemp(filepath.Dir(path), ".socket-")
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	defer os.Remove(hidden)
	temporary := filepath.Join(hidden, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", path, err)
	}
	l.SetUnlinkOnClose(false) // it would remove the temporary name
	err = os.Chmod(temporary, 0o600)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", path, err), l.Close())
	}
	return l, nil
}
