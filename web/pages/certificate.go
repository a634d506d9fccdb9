package pages

import (
	"bytes"
	cryptotls "crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/labstack/echo/v4"

	"breakwater/web/tls"
)

// certificateView is what the box proves itself with.
type certificateView struct {
	Form         form
	Certificates []tls.Certificate
	HasOwn       bool
}

// Certificate shows the certificates of the box.
func (p *Pages) Certificate(c echo.Context) error {
	return p.showCertificate(c, http.StatusOK, form{})
}

func (p *Pages) showCertificate(c echo.Context, status int, f form) error {
	f.Values = url.Values{"chain": f.Values["chain"]} // a key is never sent back
	view := certificateView{Form: f, Certificates: p.Certificates.Describe()}
	for _, certificate := range view.Certificates {
		view.HasOwn = view.HasOwn || certificate.Kind == tls.Own
	}
	return p.render(c, status, "certificate", view)
}

// Fingerprint is that of a certificate as browsers show it.
func (v certificateView) Fingerprint(certificate tls.Certificate) string {
	return fingerprintText(certificate.Fingerprint)
}

// UploadCertificate puts a certificate of the operator's in place, from files or from what was pasted.
func (p *Pages) UploadCertificate(c echo.Context) error {
	sent, err := c.FormParams()
	if err != nil {
		return err
	}
	chain, err := uploaded(c, "chainFile", sent.Get("chain"), tls.MaxUpload)
	if err != nil {
		return err
	}
	key, err := uploaded(c, "keyFile", sent.Get("key"), tls.MaxUpload)
	if err != nil {
		return err
	}
	if bytes.Contains(chain, []byte("PRIVATE KEY-----")) {
		var inside []byte
		chain, inside = apart(chain)
		sent.Set("chain", string(chain))
		if len(bytes.TrimSpace(key)) == 0 {
			key = inside
		}
	}
	err = p.Certificates.SetOwn(chain, key)
	if refused, ok := errors.AsType[*tls.Refused](err); ok {
		return p.showCertificate(c, http.StatusUnprocessableEntity, form{Values: sent}.problem("", sentence(refused)))
	}
	if err != nil {
		return err
	}
	p.record(c, "certificate", "own", "uploaded")
	return p.back(c, "/system/certificate", "certificate-set")
}

// apart makes a chain and a key of one file with both, as many tools write it. Parameters stand before the keys of
// openssl ecparam.
func apart(both []byte) (chain, key []byte) {
	for block, rest := pem.Decode(both); block != nil; block, rest = pem.Decode(rest) {
		if strings.HasSuffix(block.Type, "PRIVATE KEY") || block.Type == "EC PARAMETERS" {
			key = append(key, pem.EncodeToMemory(block)...)
		} else {
			chain = append(chain, pem.EncodeToMemory(block)...)
		}
	}
	return chain, key
}

// RemoveCertificate goes back to the certificates that the box has by itself.
func (p *Pages) RemoveCertificate(c echo.Context) error {
	if err := p.Certificates.RemoveOwn(); err != nil {
		return err
	}
	p.record(c, "certificate", "own", "removed")
	return p.back(c, "/system/certificate", "certificate-gone")
}

// DownloadCertificate answers the certificate that this browser was shown, in PEM.
func (p *Pages) DownloadCertificate(c echo.Context) error {
	name, _, err := net.SplitHostPort(c.Request().Host)
	if err != nil {
		name = c.Request().Host // without a port
	}
	if state := c.Request().TLS; state != nil && state.ServerName != "" {
		name = state.ServerName
	}
	served, err := p.Certificates.Config().GetCertificate(&cryptotls.ClientHelloInfo{ServerName: name})
	if err != nil {
		return err
	}
	var out bytes.Buffer
	for _, der := range served.Certificate {
		if err := pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: der}); err != nil {
			return err
		}
	}
	c.Response().Header().Set("Content-Disposition", `attachment; filename="breakwater.pem"`)
	return c.Blob(http.StatusOK, "application/x-pem-file", out.Bytes())
}

// uploaded is a file of a form, or what was pasted where there is none. More than most bytes are cut: whoever reads it
// says that it is too large.
func uploaded(c echo.Context, name, pasted string, most int) ([]byte, error) {
	header, err := c.FormFile(name)
	if errors.Is(err, http.ErrMissingFile) || errors.Is(err, http.ErrNotMultipart) || err == nil && header.Filename == "" {
		return []byte(pasted), nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the upload: %w", err)
	}
	return readUpload(header, most)
}

func readUpload(header *multipart.FileHeader, most int) (data []byte, err error) {
	f, err := header.Open()
	if err != nil {
		return nil, fmt.Errorf("open the upload: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, int64(most)+1))
}

// fingerprintText writes a fingerprint as browsers do: pairs of capitals with colons between them.
func fingerprintText(hex string) string {
	var pairs []string
	for i := 0; i+1 < len(hex); i += 2 {
		pairs = append(pairs, strings.ToUpper(hex[i:i+2]))
	}
	return strings.Join(pairs, ":")
}
