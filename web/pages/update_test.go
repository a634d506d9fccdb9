package pages_test

import (
	"bytes"
	"errors"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/access"
	"breakwater/appliance/host"
	"breakwater/web/webtest"
)

// sendUpdate sends a file with the form of the page.
func sendUpdate(t *testing.T, b *webtest.Browser, name string, content []byte) webtest.Page {
	t.Helper()
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	part, err := w.CreateFormFile("file", name)
	if err == nil {
		_, err = part.Write(content)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Do(http.MethodPost, "/system/update", body.String(), http.Header{"Content-Type": {w.FormDataContentType()}})
}

func TestUpdateByThePage(t *testing.T) {
	site, machine := webtest.StartAppliance(t)
	anna := site.Browser(t, "anna", access.Admin)
	const at = "/system/update"
	anna.Get(at).Want(t, 200, "Slot A", webtest.Running, "Slot B", "empty", "Upload an update", "name no place to fetch")
	whole := machine.Update(t, webtest.Newer, 5<<20)

	sendUpdate(t, anna, "x.update", whole[:len(whole)-1]).Want(t, 422, "The update is cut short", "Upload an update")
	sendUpdate(t, anna, "x.update", []byte("<script>")).Want(t, 422, "This is not an update file of Breakwater")
	sendUpdate(t, anna, "", nil).Want(t, 400, "Choose a file first.")
	anna.Post(at, url.Values{"file": {"x"}}).Want(t, 400)
	anna.Post(at+"/install", nil).Want(t, 404, "No update was received")
	anna.Post(at+"/fetch", nil).Want(t, 409, "The settings name no URL")

	if page := sendUpdate(t, anna, "x.update", whole); page.Status != 303 || page.Header.Get("Location") != at+"?done=update-received" {
		t.Fatalf("the upload: %+v", page)
	}
	anna.Get(at+"?done=update-received").Want(t, 200, "The update is here, and it is whole.", "Version "+webtest.Newer, "received and checked", "What is &lt;new&gt;.", "Throw it away")
	anna.Post(at+"/remove", nil).Want(t, 303)
	if page := anna.Get(at); strings.Contains(page.Body, webtest.Newer) {
		t.Error("it was not thrown away")
	}
	sendUpdate(t, anna, "x.update", whole).Want(t, 303)

	machine.Fail(&host.Failed{Unit: host.Update, Why: "there is not enough room to unpack the update"})
	anna.Post(at+"/install", nil).Want(t, 303)
	becomes(t, anna, at, "There is not enough room to unpack the update.")
	machine.Fail(nil)
	release := machine.Hold()
	defer release()
	anna.Post(at+"/install", nil).Want(t, 303)
	page := anna.Get(at).Want(t, 200, "The other slot is written", "<progress")
	if !strings.HasPrefix(page.Header.Get("Refresh"), "3;") || strings.Contains(page.Body, "Upload an update") {
		t.Errorf("while it is installed: %v %s", page.Header, page.Body)
	}
	release()
	becomes(t, anna, at, "Restart now")
	anna.Get(at).Want(t, 200, "starts at the next restart", "Every session ends")
	anna.Get(at).Want(t, 200, `action="/system/power/restart"`)

	machine.Runs(host.System{Version: webtest.Running, Slot: "A", Other: webtest.Newer, Failed: []string{webtest.Newer}})
	anna.Get(at).Want(t, 200, "given up")
	machine.Runs(host.System{Version: webtest.Newer, Slot: "B", Other: webtest.Running})
	anna.Get(at).Want(t, 200, "the one before")
}

// becomes opens a page until it says something.
func becomes(t *testing.T, b *webtest.Browser, path, text string) {
	t.Helper()
	var page webtest.Page
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if page = b.Get(path); strings.Contains(page.Body, text) {
			return
		}
	}
	page.Want(t, 200, text)
}

func TestUpdateIsForAdmins(t *testing.T) {
	site, machine := webtest.StartAppliance(t)
	whole := machine.Update(t, webtest.Newer, 3<<20)
	olga := site.Browser(t, "olga", access.Operator)
	if page := olga.Get("/system/update").Want(t, 200, webtest.Running); strings.Contains(page.Body, "<form method=\"post\" action=\"/system/update") || strings.Contains(page.Body, "Upload") {
		t.Error("an operator is offered what would be refused")
	}
	sendUpdate(t, olga, "x.update", whole).Want(t, 403)
	webtest.Start(t).Browser(t, "anna", access.Admin).Get("/system/update").Want(t, 200, "This is not the appliance")
}
