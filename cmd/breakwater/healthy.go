package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"breakwater/appliance/control"
	"breakwater/appliance/host"
)

const (
	healthyEvery = 2 * time.Second  // how often it is asked again
	healthyWait  = 20 * time.Second // for all answers of one time
)

// healthyCmd decides whether a new version of the image stays (systemd/breakwater-healthy.service).
type healthyCmd struct {
	Socket string        `help:"Socket of the control process." default:"/run/breakwater/control.sock" type:"path" placeholder:"SOCKET"`
	Page   string        `help:"The web page, on this machine." default:"https://127.0.0.1/" placeholder:"URL"`
	Within time.Duration `help:"How long the box may take to become healthy." default:"0s" placeholder:"TIME"`
	Report string        `help:"File to write the reason into, for the version that comes back." type:"path" placeholder:"FILE"`
}

// Run asks until everything is well, and returns what was not at the end of its time.
func (c *healthyCmd) Run(ctx context.Context, e *env) error {
	end := time.Now().Add(c.Within)
	for {
		err := c.check(ctx)
		if err == nil {
			_, err = fmt.Fprintln(e.stdout, "Breakwater is healthy.")
			return err
		}
		if time.Now().Add(healthyEvery).After(end) {
			return c.tell(fmt.Errorf("this version is not healthy: %w", err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(healthyEvery):
		}
	}
}

// tell leaves the reason for the version that comes back, which tells it on the page.
func (c *healthyCmd) tell(why error) error {
	if c.Report == "" {
		return why
	}
	content, err := json.Marshal(control.Unhealthy{Version: host.ReadSystem("/").Version, Reason: why.Error()})
	if err == nil {
		err = writeSynced(c.Report, content) // the machine starts again at once
	}
	return errors.Join(why, err)
}

func writeSynced(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Sync(), f.Close())
}

func (c *healthyCmd) check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, healthyWait)
	defer cancel()
	var s control.Status
	if err := overSocket(c.Socket).get(ctx, "/api/v1/status", &s); err != nil {
		return fmt.Errorf("control does not answer: %w", err)
	}
	if s.Edge == nil || !s.InForce && (s.Revision > 0 || s.Pending != nil) {
		return errors.New(headline(s))
	}
	var u control.Update
	if err := overSocket(c.Socket).get(ctx, "/api/v1/update", &u); err != nil {
		return fmt.Errorf("control does not answer: %w", err)
	}
	if len(u.Missing) > 0 {
		return fmt.Errorf("none of the origins that were up before is up: %s", strings.Join(u.Missing, ", "))
	}
	if err := pageAnswers(ctx, c.Page); err != nil {
		return fmt.Errorf("the web page does not answer: %w", err)
	}
	return nil
}

// pageAnswers takes a refusal for an answer: this machine need not be in the management networks.
func pageAnswers(ctx context.Context, page string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, page, http.NoBody)
	if err != nil {
		return err
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // this machine itself
	defer transport.CloseIdleConnections()
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode >= http.StatusInternalServerError {
		return errors.New(response.Status)
	}
	return nil
}
