package pages

import (
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"breakwater/web/api"
	"breakwater/web/caller"
)

type errorView struct {
	Title, Detail, Code string
}

// HandleError shows what went wrong as a page: the same status, code and sentence that the API would answer to them.
func (p *Pages) HandleError(err error, c echo.Context) {
	if c.Response().Committed {
		return // a page that broke off; its reader sees that
	}
	problem := api.ProblemFor(caller.Of(c.Request().Context()), err)
	if problem.Status >= http.StatusInternalServerError {
		p.Log.Error("a page could not be answered", "path", c.Request().URL.Path, "err", err)
	}
	title := p.text.say("error.title")
	if problem.Status == http.StatusNotFound {
		title = p.text.say("error.missing")
	}
	view := errorView{Title: title, Detail: problem.Detail, Code: problem.Code}
	if renderErr := p.render(c, problem.Status, "error", view); renderErr != nil {
		p.Log.Error("an error could not be shown", "err", errors.Join(err, renderErr))
		problem.Write(c.Response())
	}
}

// badForm is a form with a field that no page of ours sends.
func badForm(detail string) error {
	return &api.Problem{Status: http.StatusBadRequest, Code: "bad-request", Detail: detail}
}
