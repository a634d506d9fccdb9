package lab

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// certificateFile is where control keeps the API's certificate, in its state directory.
var certificateFile = filepath.Join(controlDir, "certificate.pem")

// applyDocument makes doc the current revision, which control answers when edge runs it, creates a token and asks for
// the code with which a browser claims the box. An empty lab stays without settings.
func applyDocument(ctx context.Context, c Config, doc document) (Access, error) {
	access := Access{URL: "https://" + c.Listen, Certificate: certificateFile, Socket: controlSocket}
	reason := url.Values{"reason": {"the lab begins"}}
	if !c.Empty {
		if err := call(ctx, http.MethodPut, "/api/v1/settings?"+reason.Encode(), doc.text, nil); err != nil {
			return access, fmt.Errorf("apply the settings: %w", err)
		}
	}
	var setup struct{ Code string }
	if err := call(ctx, http.MethodGet, "/api/v1/setup-code", nil, &setup); err != nil {
		return access, fmt.Errorf("ask for the setup code: %w", err)
	}
	access.SetupCode = setup.Code
	var err error
	if access.Fingerprint, err = fingerprintOf(certificateFile); err != nil {
		return access, err
	}
	var token struct {
		Secret string `json:"secret"`
	}
	if err := call(ctx, http.MethodPost, "/api/v1/tokens", []byte(`{"name":"lab"}`), &token); err != nil {
		return access, fmt.Errorf("create a token: %w", err)
	}
	access.Token = token.Secret
	return access, nil
}

// fingerprintOf is the SHA-256 of the certificate in a PEM file, in pairs of capitals as browsers write it.
func fingerprintOf(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return "", fmt.Errorf("read the certificate: %s is not PEM", file)
	}
	sum := sha256.Sum256(block.Bytes)
	return strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":"), nil
}

// call asks control over its socket, which whoever may open it is an admin on.
func call(ctx context.Context, method, path string, body []byte, answer any) error {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", controlSocket)
	}
	client := http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}
	// The host is for the HTTP header only.
	req, err := http.NewRequestWithContext(ctx, method, "http://lab"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close() //nolint:errcheck // only read from
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= http.StatusBadRequest {
		var problem struct{ Title, Detail string }
		if json.Unmarshal(text, &problem) != nil || problem.Detail == "" {
			return fmt.Errorf("%s: %s", resp.Status, bytes.TrimSpace(text))
		}
		return fmt.Errorf("%s: %s", problem.Title, problem.Detail)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}
