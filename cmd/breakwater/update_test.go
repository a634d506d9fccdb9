package main

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"breakwater/appliance/host"
	"breakwater/web/webtest"
)

func TestUpdateFromTheCommandLine(t *testing.T) {
	site, machine := webtest.StartAppliance(t)
	t.Setenv("BREAKWATER_URL", "unix://"+filepath.Join(site.Dir, "c.sock"))
	file := filepath.Join(t.TempDir(), "breakwater.update")
	write := func(content []byte) {
		t.Helper()
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	expect(t, 2, "give either a file or --fetch", "", "update")
	expect(t, 1, "the settings name no URL to fetch updates from", "", "update", "--fetch")
	whole := machine.Update(t, webtest.Newer, 5<<20)
	write(whole[:len(whole)-1])
	expect(t, 1, "The update is cut short", "", "update", file)
	write(machine.Update(t, "20200101.000000", 5<<20))
	expect(t, 1, "is older than "+webtest.Running, "", "update", file)
	write(whole)
	machine.Fail(&host.Failed{Unit: host.Update, Why: "there is not enough room"})
	expect(t, 1, "There is not enough room.", "", "update", file)
	machine.Fail(nil)
	out := expect(t, 0, "Version "+webtest.Newer+" is installed and starts at the next restart.", "", "update", file)
	if !strings.Contains(out, "Sent 5.") {
		t.Errorf("no progress was told:\n%s", out)
	}

	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(whole) }))
	defer server.Close()
	site.Apply(t, strings.Replace(webtest.Document, `"schema": 1,`, `"schema": 1, "updates": {"url": "`+server.URL+`"},`, 1))
	expect(t, 1, "is loopback, where nothing is fetched from", "", "update", "--fetch") // the box asks, not this program
}
