// Sbom writes the bill of materials of the image, CycloneDX 1.6 as JSON: the Debian packages that mkosi's manifests
// list, and the Go modules in the program.
//
//	go run ./image/sbom VERSION PROGRAM MANIFEST... > breakwater_VERSION.cdx.json
package main

import (
	"cmp"
	"debug/buildinfo"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"slices"
)

type component struct {
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	PURL    string `json:"purl,omitempty"` // https://github.com/package-url/purl-spec
}

type document struct {
	Format   string `json:"bomFormat"`
	Spec     string `json:"specVersion"`
	Version  int    `json:"version"`
	Metadata struct {
		Component component `json:"component"`
	} `json:"metadata"`
	Components []component `json:"components"`
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "sbom: usage: sbom VERSION PROGRAM MANIFEST...")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1)
	}
}

func run(version, program string, manifests []string) error {
	all, err := modules(program)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		packages, err := readManifest(m)
		if err != nil {
			return err
		}
		all = append(all, packages...)
	}
	slices.SortFunc(all, func(a, b component) int { return cmp.Compare(a.PURL, b.PURL) })
	d := document{Format: "CycloneDX", Spec: "1.6", Version: 1, Components: slices.Compact(all)}
	d.Metadata.Component = component{Type: "operating-system", Name: "breakwater", Version: version}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	return out.Encode(d)
}

func modules(program string) ([]component, error) {
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		return nil, fmt.Errorf("read the modules of %s: %w", program, err)
	}
	list := []component{{"library", "stdlib", info.GoVersion, "pkg:golang/stdlib@" + info.GoVersion}}
	for _, m := range info.Deps {
		if m.Replace != nil {
			m = m.Replace
		}
		list = append(list, component{"library", m.Path, m.Version, "pkg:golang/" + m.Path + "@" + url.PathEscape(m.Version)})
	}
	return list, nil
}

func readManifest(path string) ([]component, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var manifest struct {
		Packages []struct{ Name, Version, Architecture string }
	}
	if err := json.Unmarshal(content, &manifest); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	if len(manifest.Packages) == 0 {
		return nil, fmt.Errorf("%s lists no packages", path)
	}
	var list []component
	for _, p := range manifest.Packages {
		purl := fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=trixie", p.Name, url.PathEscape(p.Version), p.Architecture)
		list = append(list, component{"library", p.Name, p.Version, purl})
	}
	return list, nil
}
