// Package pages is the box in a browser: one Go file a page, each with the view that its template shows.
//
//	p, err := pages.New(pages.Options{Control: c, Access: a})
//	routes := p.Routes() // the site map of the pages
//
// A page is a function that reads, fills a typed view and renders it. Forms post to the page they came from; a change of
// the settings goes by the review page, which tells in words what would change, to control. Everything works without
// scripts; scripts only make numbers move, tables scroll and times local. Every word is in text/.
package pages

import (
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"

	"breakwater/appliance/access"
	"breakwater/appliance/control"
	"breakwater/web/tls"
)

//go:embed all:templates static text
var files embed.FS

// Options are what the pages show and change.
type Options struct {
	Control      *control.Control
	Access       *access.Access
	Certificates *tls.Certificates
	Log          *slog.Logger
}

// Pages answers every page. It must not be copied once it does.
type Pages struct {
	Options
	text      catalogue
	assets    assets
	templates map[string]*template.Template
	watch     watch
}

// New reads the words and the templates. An error is a mistake in one of them.
func New(o Options) (*Pages, error) {
	read, err := embedded()
	if err != nil {
		return nil, err
	}
	return &Pages{Options: o, text: read.text, assets: read.assets, templates: read.templates}, nil
}

// embedded is what the binary has, read once: words, assets and templates.
var embedded = sync.OnceValues(func() (p *Pages, err error) {
	p = new(Pages)
	if p.text, err = readCatalogue(files, "text/en"); err != nil {
		return nil, err
	}
	if p.assets, err = readAssets(files, "static"); err != nil {
		return nil, err
	}
	if p.templates, err = p.parse(); err != nil {
		return nil, err
	}
	return p, nil
})

// parse gives each page the layout and all partials, whose names begin with an underscore.
func (p *Pages) parse() (map[string]*template.Template, error) {
	shared, err := template.New("layout.html").Funcs(p.functions()).ParseFS(files, "templates/layout.html", "templates/_*.html")
	if err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	names, err := fs.Glob(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	pages := make(map[string]*template.Template)
	for _, file := range names {
		name := strings.TrimSuffix(path.Base(file), ".html")
		if name == "layout" || strings.HasPrefix(name, "_") {
			continue
		}
		page, err := shared.Clone()
		if err == nil {
			page, err = page.ParseFS(files, file)
		}
		if err != nil {
			return nil, fmt.Errorf("read template %s: %w", name, err)
		}
		pages[name] = page
	}
	return pages, nil
}

// Static answers the files that pages are made of: style, scripts, pictures.
func (p *Pages) Static() http.Handler { return p.assets }
