package api

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
)

const (
	// auditPage is how many entries an answer has unless the query says otherwise, maxAuditPage the most.
	auditPage    = 100
	maxAuditPage = 1000
)

// ListAudit answers the audit log, the newest first. The query: before (a number; only entries older than that), limit.
func (a *API) ListAudit(c echo.Context) error {
	before, err := numberParam(c, "before", 0, 1<<53)
	if err != nil {
		return err
	}
	limit, err := numberParam(c, "limit", auditPage, maxAuditPage)
	if err != nil {
		return err
	}
	entries, err := a.Access.Audit(uint64(before), limit)
	if err != nil {
		return err
	}
	return c.JSON(http.StatusOK, list(entries))
}

// numberParam reads a number from 1 of the query.
func numberParam(c echo.Context, name string, fallback, most int) (int, error) {
	text := c.QueryParam(name)
	if text == "" {
		return fallback, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > most {
		return 0, badRequest(fmt.Sprintf("%s=%.40q is not a number from 1 to %d.", name, text, most))
	}
	return n, nil
}

// AuditCheck tells whether the chain of the audit log holds.
type AuditCheck struct {
	Intact bool   `json:"intact"`
	Why    string `json:"why"` // empty while it is intact
}

// CheckAudit reads the whole audit log and verifies its chain.
func (a *API) CheckAudit(c echo.Context) error {
	return c.JSON(http.StatusOK, a.auditCheck())
}

func (a *API) auditCheck() AuditCheck {
	if err := a.Access.AuditCheck(); err != nil {
		return AuditCheck{false, err.Error()}
	}
	return AuditCheck{true, ""}
}

// DownloadAudit answers the whole audit log, the newest first, as a file. The query: format, csv (default) or jsonl.
func (a *API) DownloadAudit(c echo.Context) error {
	format := c.QueryParam("format")
	switch format {
	case "", "csv":
		attach(c, "breakwater-audit", "csv", "text/csv; charset=utf-8")
		return a.writeCSV(c.Response())
	case "jsonl":
		attach(c, "breakwater-audit", "jsonl", "application/jsonl")
		encoder := json.NewEncoder(c.Response())
		return a.eachAudit(func(e access.AuditEntry) error { return encoder.Encode(e) })
	}
	return badRequest(fmt.Sprintf("format=%.40q is not known; write csv or jsonl.", format))
}

// attach makes the answer a file to keep, with the day in its name.
func attach(c echo.Context, name, extension, kind string) {
	header := c.Response().Header()
	header.Set("Content-Type", kind)
	header.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s-%s.%s"`, name, time.Now().UTC().Format(time.DateOnly), extension))
}

// eachAudit reads the log page by page, so that it is never in memory as a whole.
func (a *API) eachAudit(each func(access.AuditEntry) error) error {
	for before := uint64(0); ; {
		entries, err := a.Access.Audit(before, maxAuditPage)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			if err := each(e); err != nil {
				return err
			}
		}
		if before = entries[len(entries)-1].Number; before <= 1 {
			return nil
		}
	}
}

func (a *API) writeCSV(w io.Writer) error {
	out := csv.NewWriter(w)
	if err := out.Write([]string{"number", "time", "who", "role", "way", "address", "action", "subject", "detail", "hash"}); err != nil {
		return err
	}
	err := a.eachAudit(func(e access.AuditEntry) error {
		address := ""
		if e.Addr.IsValid() {
			address = e.Addr.String()
		}
		return out.Write([]string{strconv.FormatUint(e.Number, 10), e.Time.UTC().Format(time.RFC3339), cell(e.Who), string(e.Role), string(e.Way),
			address, cell(e.Action), cell(e.Subject), cell(e.Detail), e.Hash})
	})
	out.Flush()
	if err != nil {
		return err
	}
	return out.Error()
}

// cell keeps a spreadsheet from taking what a stranger wrote for a formula.
func cell(text string) string {
	if strings.HasPrefix(strings.TrimSpace(text), "=") || strings.IndexAny(text, "+-@\t\r") == 0 {
		return "'" + text
	}
	return text
}
