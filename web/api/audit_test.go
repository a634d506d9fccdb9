package api_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strings"
	"testing"

	"breakwater/appliance/access"
)

func TestAuditLogAsAFile(t *testing.T) {
	b := newBox(t)
	local := b.local()
	for i := range 5 {
		if err := b.Access.Record(access.Local(), access.Peer{}, "test", fmt.Sprint(i), `=HYPERLINK("http://x","y")`); err != nil {
			t.Fatal(err)
		}
	}
	rows, err := csv.NewReader(bytes.NewReader(local.call("GET", "/api/v1/audit/download", "").want(200, "").body)).ReadAll()
	if err != nil || len(rows) < 6 || rows[0][0] != "number" || rows[1][8] != `'=HYPERLINK("http://x","y")` {
		t.Errorf("the file is %q, %v", rows, err)
	}
	lines := strings.Split(strings.TrimSpace(string(local.call("GET", "/api/v1/audit/download?format=jsonl", "").want(200, "").body)), "\n")
	if len(lines) != len(rows)-1 {
		t.Errorf("%d lines of JSON and %d rows", len(lines), len(rows)-1)
	}
	for _, line := range lines {
		validate(t, b.document.schema(t, "components", "schemas", "AuditEntry"), "a line of the audit log", []byte(line))
	}
	local.call("GET", "/api/v1/audit/download?format=xml", "").want(400, "bad-request")
	var page []access.AuditEntry
	local.call("GET", "/api/v1/audit?limit=2", "").want(200, "").into(&page)
	local.call("GET", fmt.Sprintf("/api/v1/audit?limit=2&before=%d", page[1].Number), "").want(200, "", fmt.Sprintf(`"number":%d`, page[1].Number-1))
	local.call("GET", "/api/v1/audit/check", "").want(200, "", `"intact":true`)
	b.token("auditor", access.Auditor).call("GET", "/api/v1/audit", "").want(200, "")
}
