package api_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/web/api"
	"breakwater/web/webtest"
)

func TestAccountsFromBeginToEnd(t *testing.T) {
	b := newBox(t)
	admin := b.browser("anna", access.Admin)
	admin.call("POST", "/api/v1/accounts", `{"name":"bert","role":"operator","password":"a long enough one 42"}`).want(201, "", `"passkeys":[]`)
	admin.call("POST", "/api/v1/accounts", `{"name":"bert","role":"operator","password":"a long enough one 42"}`).want(409, "account-exists")
	admin.call("POST", "/api/v1/accounts", `{"name":"b b","role":"operator","password":"a long enough one 42"}`).want(422, "account-name")
	admin.call("POST", "/api/v1/accounts", `{"name":"carl","role":"king","password":"a long enough one 42"}`).want(422, "role")
	if a := admin.call("POST", "/api/v1/accounts", `{"name":"carl","role":"viewer","password":"short"}`).want(422, "weak-password"); !slices.Equal(a.fields(), []string{"password"}) {
		t.Errorf("the fields are %v, want password", a.fields())
	}
	admin.call("PUT", "/api/v1/accounts/bert/role", `{"role":"viewer"}`).want(204, "")
	admin.call("PUT", "/api/v1/accounts/bert/password", `{"password":"another long one 43"}`).want(204, "")
	admin.call("PUT", "/api/v1/accounts/nobody/role", `{"role":"viewer"}`).want(404, "not-found")
	admin.call("GET", "/api/v1/accounts", "").want(200, "", `"bert"`, `"viewer"`)
	admin.call("DELETE", "/api/v1/accounts/bert/totp", "")
	admin.call("DELETE", "/api/v1/accounts/bert/logins", "").want(204, "")
	admin.call("DELETE", "/api/v1/accounts/bert", "").want(204, "")
	admin.call("DELETE", "/api/v1/accounts/bert", "").want(404, "not-found")

	viewer := b.browser("vera", access.Viewer)
	for _, path := range []string{"/api/v1/accounts", "/api/v1/tokens", "/api/v1/logins", "/api/v1/audit", "/api/v1/diagnostics"} {
		viewer.call("GET", path, "").want(403, "forbidden")
	}
	var logins []access.LoginInfo
	admin.call("GET", "/api/v1/logins", "").want(200, "").into(&logins)
	i := slices.IndexFunc(logins, func(l access.LoginInfo) bool { return l.Account == "vera" })
	viewer.call("GET", "/api/v1/me", "").want(200, "", `"vera"`, `"fresh":true`)
	admin.call("DELETE", "/api/v1/logins/"+logins[i].ID, "").want(204, "")
	viewer.call("GET", "/api/v1/me", "").want(401, "unauthorized")
}

// codeOf is what an authenticator app shows (RFC 6238: HMAC-SHA-1, 30 s, 6 digits).
func codeOf(t *testing.T, secret string, now time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha1.New, key)
	_ = binary.Write(mac, binary.BigEndian, now.Unix()/30) // a hash takes everything
	sum := mac.Sum(nil)
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[sum[19]&15:])&0x7fffffff%1_000_000)
}

func TestOwnFactors(t *testing.T) {
	b := newBox(t)
	anna := b.browser("anna", access.Viewer)
	var setup api.TOTP
	anna.call("POST", "/api/v1/me/totp", "").want(200, "", "otpauth://totp/").into(&setup)
	anna.call("POST", "/api/v1/me/totp/enable", `{"code":"000000x"}`).want(403, "wrong")
	code := codeOf(t, setup.Secret, time.Now())
	var recovery api.RecoveryCodes
	anna.call("POST", "/api/v1/me/totp/enable", `{"code":"`+code+`"}`).want(200, "").into(&recovery)
	if len(recovery.RecoveryCodes) < 8 {
		t.Errorf("there are %d recovery codes", len(recovery.RecoveryCodes))
	}
	anna.call("GET", "/api/v1/me", "").want(200, "", `"totp":true`, `"secondFactor":true`)
	anna.call("POST", "/api/v1/me/recovery-codes", "").want(200, "")
	anna.call("DELETE", "/api/v1/me/totp", "").want(204, "")
	anna.call("POST", "/api/v1/me/passkeys/begin", "").want(409, "no-name") // opened under an address
	anna.call("DELETE", "/api/v1/me/passkeys/x", "").want(404, "not-found")
	anna.call("POST", "/api/v1/me/passkeys", `{"name":"laptop","response":{}}`).want(422, "passkey")

	// The other browser of anna ends, this one stays.
	_, other, err := b.Access.Login(t.Context(), access.Peer{At: "127.0.0.1"}, "anna", webtest.Password, "")
	if err != nil {
		t.Fatal(err)
	}
	var logins []access.LoginInfo
	anna.call("GET", "/api/v1/me/logins", "").want(200, "").into(&logins)
	if len(logins) != 2 {
		t.Errorf("anna has %d logins, want 2", len(logins))
	}
	bert := b.browser("bert", access.Viewer)
	bert.call("DELETE", "/api/v1/me/logins/"+logins[0].ID, "").want(404, "not-found") // not his
	anna.call("PUT", "/api/v1/me/password", `{"password":"a very different one 44"}`).want(204, "")
	anna.call("GET", "/api/v1/me", "").want(200, "")
	if _, err := b.Access.ByCookie(other, access.Peer{}); err == nil {
		t.Error("the other login outlived the change of the password")
	}
}

// TestATokenIsNotTheAccountOfItsName: both have names of their own, and a token must not change an account.
func TestATokenIsNotTheAccountOfItsName(t *testing.T) {
	b := newBox(t)
	b.browser("anna", access.Admin)
	token := b.token("anna", access.Viewer)
	token.call("GET", "/api/v1/me", "").want(200, "", `"account":null`, `"way":"token"`)
	for _, call := range []string{"PUT password", "GET logins", "DELETE logins/x", "POST totp", "POST totp/enable", "DELETE totp", "POST recovery-codes", "POST passkeys/begin", "POST passkeys", "DELETE passkeys/x"} {
		method, path, _ := strings.Cut(call, " ")
		token.call(method, "/api/v1/me/"+path, `{"password":"a long enough one 42"}`).want(409, "no-account")
	}
	if _, _, err := b.Access.Login(t.Context(), access.Peer{}, "anna", webtest.Password, ""); err != nil {
		t.Errorf("the password of the account is another one: %v", err)
	}
}

func TestTokensOfTheirRole(t *testing.T) {
	b := newBox(t)
	local := b.local()
	var made api.NewToken
	local.call("POST", "/api/v1/tokens", `{"name":"far","role":"viewer","networks":["192.0.2.0/24"]}`).want(201, "").into(&made)
	b.network(http.Header{"Authorization": {"Bearer " + made.Secret}}).call("GET", "/api/v1/status", "").want(401, "unauthorized")
	local.call("POST", "/api/v1/tokens", `{"name":"far"}`).want(409, "token-exists")
	local.call("POST", "/api/v1/tokens", `{"name":"a b"}`).want(422, "token-name")
	local.call("POST", "/api/v1/tokens", `{"name":"x","role":"king"}`).want(422, "role")
	local.call("POST", "/api/v1/tokens", `{"name":"x","expires":"2001-01-01T00:00:00Z"}`).want(422, "token-expired")
	local.call("POST", "/api/v1/tokens", `{"name":"x","expires":"9999-12-31T23:59:59-01:00"}`).want(422, "token-expired") // there is no such year in JSON
	if a := local.call("POST", "/api/v1/tokens", `{"name":"x","networks":["10.0.0.0/8","home"]}`).want(422, "invalid"); !slices.Equal(a.fields(), []string{"networks[1]"}) {
		t.Errorf("the fields are %v, want networks[1]", a.fields())
	}
	local.call("DELETE", "/api/v1/tokens/far", "").want(204, "")
	local.call("DELETE", "/api/v1/tokens/far", "").want(404, "not-found")
}

func TestSetupCodeIsForWhoIsAtTheMachine(t *testing.T) {
	b := newBox(t)
	var setup api.Setup
	b.local().call("GET", "/api/v1/setup-code", "").want(200, "").into(&setup)
	if setup.Claimed || setup.Code != b.Access.SetupCode() || setup.Code == "" {
		t.Errorf("the setup code is %+v", setup)
	}
	b.token("ci", access.Admin).call("GET", "/api/v1/setup-code", "").want(403, "forbidden")
	b.browser("anna", access.Admin).call("GET", "/api/v1/setup-code", "").want(403, "forbidden")
	b.local().call("GET", "/api/v1/setup-code", "").want(200, "", `"claimed":true`, `"code":""`)
}
