// Package web is the box on HTTP: the API for programs and the command line. routes.go is the site map, guard.go says
// who may call, api/ answers.
//
//	s, err := web.Listen(web.Options{Control: c, Socket: "/run/breakwater/control.sock", Address: "127.0.0.1:8443", Dir: dir})
//	err = s.Serve(ctx) // until ctx ends
//
// There are two ways in. Whoever can open the unix socket, mode 0600, is an administrator. The network way is TLS with
// a certificate of the box's own, and needs a token. Echo is used nowhere else.
package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/net/netutil"
	"golang.org/x/sync/errgroup"

	"breakwater/appliance/control"
)

const (
	headerWait = 5 * time.Second
	maxHeader  = 16 << 10
	// readWait and writeWait cover a change of the settings, for which edge has 20 s, and 20 s to go back.
	readWait   = 60 * time.Second
	writeWait  = 90 * time.Second
	idleWait   = 2 * time.Minute
	finishWait = 5 * time.Second
	// maxConnections bounds each way in: many times what operators and their tools need.
	maxConnections = 512
)

// Options are the ways in.
type Options struct {
	Control *control.Control
	Log     *slog.Logger
	Socket  string // path of the unix socket
	Address string // host:port of the TLS listener; empty: none
	Dir     string // where the certificate is kept
}

// Server is open and waits for Serve.
type Server struct {
	log      *slog.Logger
	servers  []*http.Server
	accepts  []net.Listener
	socket   string
	certHash string
}

// Listen opens the ways in.
func Listen(o Options) (*Server, error) {
	s := &Server{log: o.Log, socket: o.Socket}
	l, err := listenUnix(o.Socket)
	if err != nil {
		return nil, err
	}
	s.add(l, socketHandler(o.Control))
	if o.Address == "" {
		return s, nil
	}
	l, err = net.Listen("tcp", o.Address)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("listen on %s: %w", o.Address, err), s.close())
	}
	pair, err := certificate(o.Dir, l.Addr())
	if err != nil {
		return nil, errors.Join(err, l.Close(), s.close())
	}
	s.certHash = Fingerprint(pair.Certificate[0])
	l = netutil.LimitListener(l, maxConnections)
	s.add(tls.NewListener(l, &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}), networkHandler(o.Control))
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
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug), // strangers' broken handshakes
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

// Fingerprint is that of the certificate; empty without a TLS listener.
func (s *Server) Fingerprint() string { return s.certHash }

// Serve answers until ctx ends, lets what is being answered finish, and removes the socket.
func (s *Server) Serve(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
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
