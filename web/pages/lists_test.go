package pages_test

import (
	"net/url"
	"strings"
	"testing"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/web/webtest"
)

const listsPath = "/shield/lists"

func sendFile(t *testing.T, b *webtest.Browser, path, content string) webtest.Page {
	t.Helper()
	return upload(t, b, path, map[string]string{"file": content}, nil)
}

func TestLists(t *testing.T) {
	site := webtest.Start(t)
	anna := site.Browser(t, "anna", access.Admin)
	anna.Get(listsPath).Want(t, 200, "There is no list")
	site.Apply(t, webtest.Document)
	edge := observed()
	edge.Shield.Addresses = []status.SourceCounter{{Kind: status.SourceCountry, Name: "AQ", Packets: 4321}}
	site.Edge.Observe(edge)
	values := shownForm(t, anna.Get(listsPath).Want(t, 200, "There is none", "4\u202f321"), listsPath)
	for n, name := range []string{"drop", "gone"} {
		values.Set("do", "add")
		values = shownForm(t, anna.Post(listsPath, values).Want(t, 200), listsPath)
		values.Set([]string{"shield.lists[0].name", "shield.lists[1].name"}[n], name)
	}
	values.Set("do", "remove 2")
	values = shownForm(t, anna.Post(listsPath, values).Want(t, 200), listsPath)
	values.Del("do")
	values.Set("shield.allow", "198.51.100.7 our office\n\nnobody\n")
	values.Set("shield.deny", "10.0.0.0/24")
	values.Set("shield.networks.deny", "AS64500, many")
	values.Set("shield.countries.deny", "aq, xx")
	page := anna.Post(listsPath, values).Want(t, 422, `id="p-shield.allow"`, "line 3", `id="p-shield.deny"`, "origin games-1", `id="p-shield.networks.deny"`, `id="p-shield.countries.deny"`)
	values = shownForm(t, page, listsPath)
	values.Set("shield.allow", "198.51.100.7 our office\n")
	values.Set("shield.deny", "203.0.113.128/25")
	values.Set("shield.networks.deny", "AS64500")
	values.Set("shield.countries.deny", "aq")
	apply(t, anna, anna.Post(listsPath, values).Want(t, 200, "List drop", "Always let in", "Countries turned away", "cut you off"), listsPath)
	if _, err := site.Control.Confirm(t.Context()); err != nil {
		t.Fatal(err)
	}
	values = shownForm(t, anna.Get(listsPath).Want(t, 200, "our office", "64500", "AQ"), listsPath)
	anna.Post(listsPath, values).Want(t, 200, "Nothing: the settings are like this already.")

	page = sendFile(t, anna, listsPath+"/drop/file", "192.0.2.0/24\n<img src=x>\n").Want(t, 422, "The file was not taken", "Line 2", "What was there before stays")
	if strings.Contains(page.Body, "<img") {
		t.Error("a broken line became markup")
	}
	sendFile(t, anna, listsPath+"/drop/file", "192.0.2.0/24\n198.51.100.0/24\n").Want(t, 303)
	anna.Get(listsPath+"?done=list-taken").Want(t, 200, "The file is taken", `data-label="Entries">2<`)
	sendFile(t, anna, listsPath+"/none/file", "192.0.2.0/24\n").Want(t, 404)
	sendFile(t, anna, "/shield/geo", "no such data").Want(t, 422, "The file was not taken")
	site.Browser(t, "olga", access.Operator).Post(listsPath, url.Values{"base": {"1"}}).Want(t, 403)
	if page := site.Browser(t, "vera", access.Viewer).Get(listsPath).Want(t, 200); strings.Contains(page.Body, "<textarea") {
		t.Error("a viewer gets a form")
	}
}
