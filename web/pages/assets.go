package pages

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
)

// assets are the static files under addresses that change with their content, so that browsers may keep them for ever:
// /static/0123456789abcdef/app.js. The name in front is that of all files together: scripts import each other by
// relative addresses, and one of them changing moves them all.
type assets struct {
	version string
	files   map[string]asset
}

type asset struct {
	kind          string
	plain, packed []byte
}

func readAssets(from fs.FS, folder string) (assets, error) {
	a := assets{files: make(map[string]asset)}
	sum := sha256.New()
	err := fs.WalkDir(from, folder, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(data), data) // a hash takes everything
		a.files[strings.TrimPrefix(name, folder+"/")] = newAsset(name, data)
		return nil
	})
	if err != nil {
		return a, fmt.Errorf("read static files: %w", err)
	}
	a.version = hex.EncodeToString(sum.Sum(nil)[:8])
	return a, nil
}

func newAsset(name string, data []byte) asset {
	kind := mime.TypeByExtension(path.Ext(name))
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8" // whatever the mime.types of the box says
	}
	var packed bytes.Buffer
	w, _ := gzip.NewWriterLevel(&packed, gzip.BestCompression) // a level that exists
	_, _ = w.Write(data)                                       // memory takes everything
	_ = w.Close()
	return asset{kind, data, packed.Bytes()}
}

// address is where a browser finds a static file.
func (a assets) address(name string) string { return "/static/" + a.version + "/" + name }

// ServeHTTP answers /static/VERSION/NAME. Another version is answered too, without being kept: a page from before an
// update asks for it.
func (a assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	version, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/static/"), "/")
	file, ok := a.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Content-Type", file.kind)
	header.Set("Vary", "Accept-Encoding")
	if version == a.version {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	content := file.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		header.Set("Content-Encoding", "gzip")
		content = file.packed
	}
	header.Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(content) // the browser is gone
	}
}
