package alert

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"breakwater/appliance/incident"
	"breakwater/appliance/status"
)

var attack = incident.Incident{ID: 7, Start: time.Unix(1e9, 0), Updated: time.Unix(1e9, 0), Vector: status.VectorSYN, Services: []string{"web"},
	Peak: incident.Peak{Packets: 52000}, Series: []incident.Point{{}}, Note: "<!channel> & @everyone"}

// receiver is a web server that keeps what it gets and answers as it is told.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	bodies []string
	answer func(w http.ResponseWriter, n int)
}

func receive(t *testing.T, answer func(w http.ResponseWriter, n int)) *receiver {
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		r.mu.Lock()
		r.bodies = append(r.bodies, string(body))
		n := len(r.bodies)
		r.mu.Unlock()
		answer(w, n)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) got() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.bodies)
}

func ok(w http.ResponseWriter, _ int) { w.WriteHeader(http.StatusNoContent) }

func dial(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, address)
}

func TestForms(t *testing.T) {
	r := receive(t, ok)
	for _, kind := range []Kind{Generic, Discord, Slack} {
		if _, err := (Webhook{Kind: kind, URL: r.URL + "/hook", Dial: dial}).Send(t.Context(), Of(attack, "box")); err != nil {
			t.Fatalf("%s: %v", kind, err)
		}
	}
	bodies := r.got()
	var plain Message
	if err := json.Unmarshal([]byte(bodies[0]), &plain); err != nil || plain.Event != Start || plain.Title != "box: SYN flood on web" || plain.Incident.ID != 7 || len(plain.Incident.Series) > 0 {
		t.Errorf("generic: %s", bodies[0])
	}
	var embeds struct {
		Embeds   []struct{ Title, Description string }
		Mentions map[string][]string `json:"allowed_mentions"`
	}
	if err := json.Unmarshal([]byte(bodies[1]), &embeds); err != nil || embeds.Embeds[0].Title != plain.Title || len(embeds.Mentions["parse"]) != 0 || !strings.Contains(bodies[1], `"parse":[]`) {
		t.Errorf("discord: %s", bodies[1])
	}
	var text struct{ Text string }
	if err := json.Unmarshal([]byte(bodies[2]), &text); err != nil || !strings.HasPrefix(text.Text, "*box: SYN flood on web*\n") || !strings.Contains(text.Text, "&lt;!channel&gt; &amp;") {
		t.Errorf("slack: %s", bodies[2])
	}
}

func TestAnswersOfWebhooks(t *testing.T) {
	secret := "s3cret-path"
	tests := []struct {
		name    string
		answer  func(http.ResponseWriter, int)
		refused bool
		after   time.Duration
		said    string
	}{
		{"gone", func(w http.ResponseWriter, _ int) { http.Error(w, "unknown\nwebhook\x1b[2J", 404) }, true, 0, "the webhook answered 404 Not Found unknown webhook [2J"},
		{"broken", func(w http.ResponseWriter, _ int) { w.WriteHeader(502) }, false, 0, "the webhook answered 502 Bad Gateway"},
		{"too fast", func(w http.ResponseWriter, _ int) { w.Header().Set("Retry-After", "17"); w.WriteHeader(429) }, false, 17 * time.Second, "429 Too Many Requests"},
		{"redirect", func(w http.ResponseWriter, _ int) {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(302)
		}, true, 0, "redirects are not followed"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := receive(t, test.answer)
			_, err := Webhook{URL: r.URL + "/" + secret, Dial: dial}.Send(t.Context(), OfTest("box", time.Now()))
			_, refused := errors.AsType[*Rejected](err)
			later, _ := errors.AsType[*Later](err)
			if err == nil || refused != test.refused || later != nil && later.After != test.after || !strings.Contains(err.Error(), test.said) {
				t.Errorf("got %v (refused %v)", err, refused)
			}
			if strings.Contains(fmt.Sprint(err), secret) || len(r.got()) != 1 {
				t.Errorf("%v after %d requests", err, len(r.got()))
			}
		})
	}
	_, err := Webhook{URL: "http://127.0.0.1:1/" + secret, Dial: dial}.Send(t.Context(), OfTest("box", time.Now()))
	if err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("nobody there: %v", err)
	}
}

func TestURLs(t *testing.T) {
	for text, good := range map[string]bool{
		"https://discord.com/api/webhooks/1/abc": true, "http://192.168.1.5:8123/api/webhook/x": true,
		"": false, "discord.com/api": false, "ftp://example.org/": false, "https://": false, "https://:443/": false, "mailto:a@b": false,
		"https://example.org/" + strings.Repeat("a", maxURL): false, "https://example.org/%zz": false,
	} {
		if err := CheckURL(text); (err == nil) != good || err != nil && strings.Contains(err.Error(), "example.org") {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// reports is what a Sender told about its targets.
type reports struct {
	mu   sync.Mutex
	last map[string]error
	n    int
}

func (r *reports) report(name string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last[name], r.n = err, r.n+1
}

func (r *reports) of(name string) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.n, r.last[name]
}

func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in time: %s", what)
		}
	}
}

func TestASlowTargetHoldsNobodyUp(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	r := &reports{last: map[string]error{}}
	s := &Sender{Report: r.report, Pause: time.Millisecond}
	broken := receive(t, func(w http.ResponseWriter, n int) {
		if n <= 3 {
			w.WriteHeader(500)
		}
	})
	fine := receive(t, ok)
	stuck := make(chan struct{})
	hang := func(ctx context.Context, _ Message) (string, error) {
		<-ctx.Done()
		close(stuck)
		return "", ctx.Err()
	}
	s.Set(ctx, []Target{{"hangs", "1", hang}, {"broken", "1", Webhook{URL: broken.URL, Dial: dial}.Send}, {"fine", "1", Webhook{URL: fine.URL, Dial: dial}.Send}})
	for range 1000 {
		s.Send(OfTest("box", time.Now())) // never blocks
	}
	eventually(t, "the good one got as many as can wait", func() bool { return len(fine.got()) >= maxWaiting })
	eventually(t, "the broken one recovers", func() bool { _, err := r.of("broken"); return len(broken.got()) > 3 && err == nil })
	s.Set(ctx, []Target{{"fine", "1", nil}}) // it stays as it was
	<-stuck
	end()
	s.Wait()
}

func TestWhatIsRefusedIsNotTriedAgain(t *testing.T) {
	r := &reports{last: map[string]error{}}
	s := &Sender{Report: r.report, Pause: time.Millisecond}
	ctx, end := context.WithCancel(t.Context())
	gone := receive(t, func(w http.ResponseWriter, _ int) { w.WriteHeader(410) })
	s.Set(ctx, []Target{{"gone", "1", Webhook{URL: gone.URL, Dial: dial}.Send}})
	s.Send(OfTest("box", time.Now()))
	eventually(t, "it is told", func() bool { _, err := r.of("gone"); return err != nil })
	s.Set(ctx, nil)
	if n, err := r.of("gone"); err != nil || n != 2 || len(gone.got()) != 1 {
		t.Errorf("after it was taken away: %v after %d reports and %d requests", err, n, len(gone.got()))
	}
	end()
	s.Wait()
}

// mailServer is a small SMTP server (RFC 5321) for one conversation after the other.
type mailServer struct {
	t        *testing.T
	listener net.Listener
	config   *tls.Config
	implicit bool
	starttls bool
	auth     string // what EHLO offers
	refuse   string // an address that is not known
	mu       sync.Mutex
	mails    []string
	logins   []string
}

func (s *mailServer) start() string {
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = s.listener.Close() })
	go func() {
		for {
			conn, err := s.listener.Accept()
			if err != nil {
				return
			}
			if s.implicit {
				conn = tls.Server(conn, s.config)
			}
			s.talk(conn)
		}
	}()
	return s.listener.Addr().String()
}

func (s *mailServer) talk(conn net.Conn) {
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(5 * time.Second))
	in := bufio.NewReader(conn)
	say := func(format string, args ...any) { fmt.Fprintf(conn, format+"\r\n", args...) }
	decode := func(text string) string { b, _ := base64.StdEncoding.DecodeString(text); return string(b) }
	ask := func(code string) string {
		say("334 %s", base64.StdEncoding.EncodeToString([]byte(code)))
		line, _ := in.ReadString('\n')
		return decode(strings.TrimSpace(line))
	}
	_, encrypted := conn.(*tls.Conn)
	say("220 mail.example.org ESMTP")
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimSpace(line)
		verb, rest, _ := strings.Cut(line, " ")
		switch strings.ToUpper(verb) {
		case "EHLO":
			say("250-mail.example.org")
			if s.starttls && !encrypted {
				say("250-STARTTLS")
			} else if s.auth != "" {
				say("250-AUTH %s", s.auth)
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go on")
			conn = tls.Server(conn, s.config)
			in, encrypted = bufio.NewReader(conn), true
		case "AUTH":
			way, initial, _ := strings.Cut(rest, " ")
			login := strings.TrimLeft(strings.ReplaceAll(decode(initial), "\x00", " "), " ")
			if way == "LOGIN" {
				login = ask("Username:") + " " + ask("Password:")
			}
			s.mu.Lock()
			s.logins = append(s.logins, way+" "+login)
			s.mu.Unlock()
			if !strings.HasSuffix(login, "right") {
				say("535 5.7.8 wrong password")
				continue
			}
			say("235 welcome")
		case "RCPT":
			if s.refuse != "" && strings.Contains(rest, s.refuse) {
				say("550 5.1.1 no such user")
				continue
			}
			say("250 ok")
		case "DATA":
			say("354 go on")
			var mail strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil || line == ".\r\n" {
					break
				}
				mail.WriteString(strings.TrimPrefix(line, "."))
			}
			s.mu.Lock()
			s.mails = append(s.mails, mail.String())
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func TestMail(t *testing.T) {
	web := httptest.NewTLSServer(nil) // for its certificate, which is for example.com and 127.0.0.1
	defer web.Close()
	trust := web.Client().Transport.(*http.Transport).TLSClientConfig
	config := &tls.Config{Certificates: web.TLS.Certificates}
	tests := []struct {
		name   string
		server mailServer
		mail   Mail
		login  string
		wrong  string // empty: it is delivered
	}{
		{"starttls", mailServer{starttls: true, auth: "LOGIN PLAIN"}, Mail{TLS: STARTTLS, User: "box", Password: "right"}, "PLAIN box right", ""},
		{"tls", mailServer{implicit: true, auth: "LOGIN"}, Mail{TLS: Implicit, User: "box", Password: "right"}, "LOGIN box right", ""},
		{"none", mailServer{}, Mail{TLS: Plain}, "", ""},
		{"no starttls", mailServer{}, Mail{TLS: STARTTLS}, "", "offers no STARTTLS"},
		{"wrong password", mailServer{starttls: true, auth: "PLAIN"}, Mail{TLS: STARTTLS, User: "box", Password: "s3cret"}, "PLAIN box s3cret", "535"},
		{"unknown recipient", mailServer{refuse: "admin@"}, Mail{TLS: Plain}, "", "550"},
		{"a stranger's certificate", mailServer{starttls: true}, Mail{TLS: STARTTLS, Config: &tls.Config{}}, "", "certificate"},
	}
	for i := range tests {
		test := &tests[i]
		t.Run(test.name, func(t *testing.T) {
			s := &test.server
			s.t, s.config = t, config
			m := test.mail
			m.Server, m.From, m.To, m.Dial = s.start(), "box@example.org", []string{"admin@example.org", "second@example.org"}, dial
			if m.Config == nil {
				m.Config = trust
			}
			message := Of(attack, "büx")
			message.Text = "first\n.\nlast"
			_, err := m.Send(t.Context(), message)
			s.mu.Lock()
			defer s.mu.Unlock()
			if test.login != "" && !slices.Contains(s.logins, test.login) {
				t.Errorf("the logins are %q, want %q", s.logins, test.login)
			}
			if test.wrong != "" {
				if err == nil || !strings.Contains(err.Error(), test.wrong) || strings.Contains(err.Error(), "s3cret") || len(s.mails) > 0 {
					t.Errorf("got %v and %d mails, want %q", err, len(s.mails), test.wrong)
				}
				return
			}
			if err != nil || len(s.mails) != 1 {
				t.Fatalf("got %v and %d mails", err, len(s.mails))
			}
			assertMail(t, s.mails[0])
		})
	}
}

func assertMail(t *testing.T, text string) {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	body, err := io.ReadAll(quotedprintable.NewReader(m.Body))
	if got := strings.TrimSpace(string(body)); err != nil || got != "first\r\n.\r\nlast" {
		t.Errorf("the text is %q (%v)", got, err)
	}
	subject := m.Header.Get("Subject")
	if !strings.HasPrefix(subject, "=?utf-8?q?b=C3=BCx:_SYN_flood") || m.Header.Get("To") != "admin@example.org, second@example.org" {
		t.Errorf("the subject is %q, to %s", subject, m.Header.Get("To"))
	}
	if _, err := m.Header.Date(); err != nil {
		t.Errorf("the date: %v", err)
	}
}

func TestASilentMailServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer end()
	if _, err := (Mail{Server: l.Addr().String(), TLS: Plain, Dial: dial}).Send(ctx, OfTest("box", time.Now())); err == nil {
		t.Error("nobody is told")
	}
}
