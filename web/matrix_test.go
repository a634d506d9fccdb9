package web

import (
	"cmp"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/web/caller"
	"breakwater/web/sitemap"
)

var update = flag.Bool("update", false, "write the golden files anew")

// visitor is one way to come, as a column of the matrix.
type visitor struct {
	name   string
	header http.Header
	socket bool
}

// TestWhoMayDoWhat asks for every address of the site as everybody, and compares with testdata/matrix.txt. The calls go
// through the real wall; only what is behind it is replaced, so that nothing is carried out. Who changes a permission
// sees it in the difference of that file.
func TestWhoMayDoWhat(t *testing.T) {
	b := newBox(t)
	visitors := b.visitors()
	table := b.site.table()
	slices.SortFunc(table, func(x, y sitemap.Route) int {
		return cmp.Or(cmp.Compare(x.Path, y.Path), cmp.Compare(x.Method, y.Method))
	})
	for i := range table {
		table[i].Handle = func(c echo.Context) error { return c.NoContent(http.StatusNoContent) }
	}
	routes := b.site.serve(table)
	socket, network := b.site.outer(overSocket(routes)), b.site.outer(b.site.overNetwork(routes))

	var got strings.Builder
	fmt.Fprintf(&got, "%-58s", "")
	for _, v := range visitors {
		fmt.Fprintf(&got, " %-9s", v.name)
	}
	for _, r := range table {
		fmt.Fprintf(&got, "\n%-6s %-51s", r.Method, r.Path)
		for _, v := range visitors {
			handler := network
			if v.socket {
				handler = socket
			}
			fmt.Fprintf(&got, " %-9s", ask(handler, r, v))
		}
	}
	compareGolden(t, "testdata/matrix.txt", trimLines(got.String()))
}

// visitors are nobody, a login and a token of each role, an admin whose password was given six minutes ago, and the
// unix socket.
func (b *box) visitors() []visitor {
	list := []visitor{{name: "nobody"}, {name: "socket", socket: true}}
	if _, _, err := b.access.Claim(b.t.Context(), access.Peer{}, b.access.SetupCode(), "owner", password); err != nil {
		b.t.Fatal(err)
	}
	// A clock that is set back ends the logins from after that time, so this one comes first.
	b.clock.Store(int64(-access.FreshFor - time.Minute))
	list = append(list, visitor{name: "stale", header: http.Header{"Cookie": {b.cookie("stale", access.Admin)}, "Sec-Fetch-Site": {"same-origin"}}})
	b.clock.Store(0)
	for _, role := range access.Roles() {
		list = append(list,
			visitor{name: string(role), header: http.Header{"Cookie": {b.cookie(string(role), role)}, "Sec-Fetch-Site": {"same-origin"}}},
			visitor{name: "t:" + string(role), header: http.Header{"Authorization": {b.token("t-"+string(role), role)}}})
	}
	return list
}

const password = "Seven gulls over 9 grey stones"

// cookie signs an account in, which is made.
func (b *box) cookie(name string, role access.Role) string {
	b.t.Helper()
	err := b.access.CreateAccount(access.Local(), access.Peer{}, name, role, password)
	if err != nil {
		b.t.Fatal(err)
	}
	_, secret, err := b.access.Login(b.t.Context(), access.Peer{}, name, password, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return caller.Cookie + "=" + secret
}

var parameter = regexp.MustCompile(`:\w+`)

// ask makes one call and says in a word what became of it.
func ask(h http.Handler, r sitemap.Route, v visitor) string {
	request := httptest.NewRequest(r.Method, "https://127.0.0.1"+parameter.ReplaceAllString(r.Path, "1"), nil)
	maps.Copy(request.Header, v.header)
	w := record(h, request)
	switch {
	case w.Code == http.StatusNoContent:
		return "yes"
	case w.Code == http.StatusSeeOther:
		return "login"
	case w.Code == http.StatusUnauthorized:
		return "401"
	case strings.Contains(w.Body.String(), "proof-needed"), strings.Contains(w.Body.String(), "prove.password"):
		return "proof"
	}
	return fmt.Sprint(w.Code)
}

func compareGolden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is not what happens (-want +got; go test -update writes it anew):\n%s", file, diff)
	}
}

func trimLines(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.Join(lines, "\n") + "\n"
}
