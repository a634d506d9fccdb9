package access

import (
	"regexp"
	"strings"
	"testing"
)

func TestClean(t *testing.T) {
	tests := []struct {
		name, text string
		limit      int
		want       string
	}{
		{"plain", "Müller & <b>", 50, "Müller & <b>"},
		{"line feed and escape", "a\nb\x1b[31m", 50, `a\u000ab\u001b[31m`},
		{"right to left mark", "a\u202eb", 50, `a\u202eb`},
		{"not UTF-8", "a\xffb", 50, `a\xffb`},
		{"bounded", strings.Repeat("é", 10), 5, "éé…"},
		{"an escape is not cut", "abc\n", 5, "abc…"},
		{"empty", "", 5, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := clean(test.text, test.limit); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestReadCode(t *testing.T) {
	tests := []struct{ name, text, want string }{
		{"as shown", "7Q2M-K0ZD-94XA", "7Q2M-K0ZD-94XA"},
		{"small letters without hyphens", "7q2mk0zd94xa", "7Q2M-K0ZD-94XA"},
		{"hyphens elsewhere", " 7Q-2M K0Z-D94XA ", "7Q2M-K0ZD-94XA"},
		{"letters for digits", "7q2mkozd94xi", "7Q2M-K0ZD-94X1"},
		{"too short", "7Q2M-K0ZD-94X", ""},
		{"too long", "7Q2M-K0ZD-94XAA", ""},
		{"not in the alphabet", "7Q2M-K0ZD-94XU", ""},
		{"not ASCII", "7Q2M-K0ZD-94Xß", ""},
		{"endless", strings.Repeat("-", 100000) + "7Q2MK0ZD94XA", ""},
		{"empty", "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := readCode(test.text, setupGroups); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

var codeForm = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}(-[0-9A-HJKMNP-TV-Z]{4}){2}$`)

func TestCodesAreRandomAndReadBack(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		code := newCode(setupGroups)
		if seen[code] || !codeForm.MatchString(code) || readCode(code, setupGroups) != code {
			t.Fatalf("%q came twice, or has another form, or does not read back", code)
		}
		seen[code] = true
	}
}

func FuzzReadCode(f *testing.F) {
	for _, seed := range []string{"7Q2M-K0ZD-94XA", "7q2mkozd94xi", "ßßßßßßßßßßßß", "-", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		code := readCode(text, setupGroups)
		if code != "" && (!codeForm.MatchString(code) || readCode(code, setupGroups) != code) {
			t.Errorf("%q is read as %q", text, code)
		}
	})
}
