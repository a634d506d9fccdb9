package alert

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"
)

// TLS is how the way to a mail server is protected.
type TLS string

// The ways.
const (
	STARTTLS TLS = "starttls" // RFC 3207; without it nothing is sent
	Implicit TLS = "tls"      // RFC 8314
	Plain    TLS = "none"
)

// Mail is a mail server that takes messages, and for whom.
type Mail struct {
	Server   string // host:port
	TLS      TLS
	From     string
	To       []string
	User     string // empty: no login
	Password string
	// Dial connects; it decides which addresses may be reached.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Config is for tests, which have authorities of their own; nil: the system's.
	Config *tls.Config
}

// Send mails m once and returns what the server said.
func (o Mail) Send(ctx context.Context, m Message) (said string, err error) {
	ctx, cancel := context.WithTimeout(ctx, sendWait)
	defer cancel()
	conn, err := o.Dial(ctx, "tcp", o.Server)
	if err != nil {
		return "", fmt.Errorf("the mail server cannot be reached: %w", err)
	}
	stopped := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stopped()
	client, err := o.open(conn)
	if err != nil {
		return "", errors.Join(words(err), ignoreClosed(conn.Close()))
	}
	defer client.Close()
	if err := o.deliver(client, m); err != nil {
		return "", words(err)
	}
	// The message is the server's now; a farewell that fails changes nothing.
	_ = client.Quit()
	return "the mail server took it", nil
}

// open greets the server, over TLS unless it is not wanted.
func (o Mail) open(conn net.Conn) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(o.Server)
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if o.Config != nil {
		config = o.Config.Clone()
		config.ServerName = host
	}
	if o.TLS == Implicit {
		conn = tls.Client(conn, config)
	}
	client, err := smtp.NewClient(conn, host)
	if err != nil || o.TLS != STARTTLS {
		return client, err
	}
	if ok, _ := client.Extension("STARTTLS"); !ok {
		return nil, &Rejected{"the mail server offers no STARTTLS, so nothing was sent"}
	}
	return client, client.StartTLS(config)
}

func (o Mail) deliver(client *smtp.Client, m Message) error {
	if o.User != "" {
		if err := client.Auth(o.auth(client)); err != nil {
			return err
		}
	}
	if err := client.Mail(o.From); err != nil {
		return err
	}
	for _, to := range o.To {
		if err := client.Rcpt(to); err != nil {
			return err
		}
	}
	data, err := client.Data()
	if err != nil {
		return err
	}
	text, err := o.text(m)
	if err != nil {
		return err
	}
	if _, err := data.Write(text); err != nil {
		return err
	}
	return data.Close()
}

// auth is PLAIN (RFC 4616), or LOGIN where the server knows no other.
func (o Mail) auth(client *smtp.Client) smtp.Auth {
	host, _, _ := net.SplitHostPort(o.Server) // open has tried it
	if _, ways := client.Extension("AUTH"); strings.Contains(ways, "LOGIN") && !strings.Contains(ways, "PLAIN") {
		return &login{user: o.User, password: o.Password}
	}
	return smtp.PlainAuth("", o.User, o.Password, host)
}

// login is the way that some large providers have instead of a standard: the server asks twice.
type login struct {
	user, password string
	asked          int
}

func (l *login) Start(s *smtp.ServerInfo) (string, []byte, error) {
	if !s.TLS {
		return "", nil, errors.New("the way to the mail server is not encrypted")
	}
	return "LOGIN", nil, nil
}

func (l *login) Next(_ []byte, more bool) ([]byte, error) {
	if !more {
		return nil, nil
	}
	l.asked++
	switch l.asked {
	case 1:
		return []byte(l.user), nil
	case 2:
		return []byte(l.password), nil
	}
	return nil, errors.New("the mail server asks too often")
}

// text is a mail of RFC 5322.
func (o Mail) text(m Message) ([]byte, error) {
	id := make([]byte, 16)
	_, _ = rand.Read(id) // never fails
	_, domain, _ := strings.Cut(o.From, "@")
	var b strings.Builder
	for _, header := range [][2]string{
		{"From", o.From}, {"To", strings.Join(o.To, ", ")}, {"Subject", mime.QEncoding.Encode("utf-8", m.Title)}, {"Date", m.Time.Format(time.RFC1123Z)},
		{"Message-ID", "<" + hex.EncodeToString(id) + "@" + domain + ">"}, {"Auto-Submitted", "auto-generated"}, {"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"}, {"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", header[0], header[1])
	}
	b.WriteString("\r\n")
	w := quotedprintable.NewWriter(&b)
	if _, err := w.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n"))); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	b.WriteString("\r\n")
	return []byte(b.String()), nil
}

// words tells what the server refuses for good (RFC 5321 section 4.2.1: 5yz) from what may pass.
func words(err error) error {
	if reply, ok := errors.AsType[*textproto.Error](err); ok && reply.Code/100 == 5 {
		return &Rejected{"the mail server answered " + printable(reply.Error())}
	}
	if _, ok := errors.AsType[*Rejected](err); ok {
		return err
	}
	return fmt.Errorf("the mail server did not take it: %w", err)
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
