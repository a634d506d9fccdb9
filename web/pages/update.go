package pages

import (
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"slices"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/control"
	"breakwater/appliance/update"
	"breakwater/web/api"
	"breakwater/web/caller"
)

// maxUpload is an update and what a form has around it.
const maxUpload = update.MaxSize + 64<<10

// updateView is which versions there are and how far the next one has come.
type updateView struct {
	control.Update
	Problem string // why the last step failed
}

// Appliance tells whether versions of the whole machine can change here.
func (v updateView) Appliance() bool { return v.Version != "" }

// Busy tells that the page is worth another look soon.
func (v updateView) Busy() bool {
	return v.State == control.UpdateReceiving || v.State == control.UpdateInstalling
}

// OtherSlot is the name of the slot that does not run.
func (v updateView) OtherSlot() string { return map[string]string{"A": "B", "B": "A"}[v.Slot] }

// OtherIs says what the version in the other slot is for: none, next, failed or older.
func (v updateView) OtherIs() string {
	switch {
	case v.Other == "":
		return "none"
	case slices.Contains(v.Failed, v.Other):
		return "failed"
	case v.Other > v.Version:
		return "next"
	}
	return "older"
}

// Update shows what runs and what could.
func (p *Pages) Update(c echo.Context) error { return p.showUpdate(c, http.StatusOK, "") }

func (p *Pages) showUpdate(c echo.Context, status int, problem string) error {
	u, err := p.Control.Update(c.Request().Context())
	if err != nil {
		return err
	}
	view := updateView{u, problem}
	if view.Problem == "" {
		view.Problem = u.Reason
	}
	if view.Busy() {
		c.Response().Header().Set("Refresh", "3; url=/system/update") // works without scripts
	}
	return p.render(c, status, "update", view)
}

// updateProblem shows the page again with what was refused. What is a fault of the box goes on as an error.
func (p *Pages) updateProblem(c echo.Context, err error) error {
	problem := api.ProblemFor(caller.Of(c.Request().Context()), err)
	if problem.Status == http.StatusInternalServerError {
		return err
	}
	return p.showUpdate(c, problem.Status, sentence(errors.New(problem.Detail)))
}

// UploadUpdate takes the file of a form as it comes: it is larger than what fits into memory.
func (p *Pages) UploadUpdate(c echo.Context) error {
	file, err := filePart(c.Request())
	if err != nil {
		return p.updateProblem(c, err)
	}
	release, err := p.Control.ReceiveUpdate(file, c.Request().ContentLength)
	if err != nil {
		return p.updateProblem(c, err)
	}
	p.record(c, "update-upload", release.Version, "")
	return p.back(c, "/system/update", "update-received")
}

// filePart is the first file of a form.
func filePart(r *http.Request) (*multipart.Part, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, badForm("The form cannot be read: " + err.Error() + ".")
	}
	for {
		part, err := parts.NextPart()
		if errors.Is(err, io.EOF) || err == nil && part.FormName() == "file" && part.FileName() == "" {
			return nil, badForm("Choose a file first.")
		}
		if err != nil || part.FormName() == "file" {
			return part, err
		}
	}
}

// ProveUpdate does nothing but ask for the password: the file of an upload does not wait until it is given.
func (p *Pages) ProveUpdate(c echo.Context) error { return p.back(c, "/system/update", "") }

// FetchUpdate begins to fetch the update from the URL of the settings.
func (p *Pages) FetchUpdate(c echo.Context) error {
	if err := p.Control.FetchUpdate(); err != nil {
		return p.updateProblem(c, err)
	}
	p.record(c, "update-fetch", "", "")
	return p.back(c, "/system/update", "")
}

// InstallUpdate begins to write the other slot.
func (p *Pages) InstallUpdate(c echo.Context) error {
	version, err := p.Control.InstallUpdate()
	if err != nil {
		return p.updateProblem(c, err)
	}
	p.record(c, "update-install", version, "")
	return p.back(c, "/system/update", "")
}

// RemoveUpdate throws the received update away.
func (p *Pages) RemoveUpdate(c echo.Context) error {
	if err := p.Control.ForgetUpdate(); err != nil {
		return p.updateProblem(c, err)
	}
	p.record(c, "update-remove", "", "")
	return p.back(c, "/system/update", "")
}
