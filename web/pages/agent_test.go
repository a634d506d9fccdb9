package pages

import "testing"

func TestBrowserText(t *testing.T) {
	for _, c := range []struct{ name, agent, want string }{
		{"firefox", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox 140, Linux"},
		{"edge says chrome", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0", "Edge 141, Windows"},
		{"iphone says mac", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1", "Safari 18, iPhone"},
		{"program", "curl/8.5.0", "curl 8"},
		{"nothing", "", ""},
		{"hostile", "<script>\x00\x1b[31m", "<script>··[31m"},
		{"no version", "Firefox/", "Firefox"},
		{"long version", "Firefox/99999999999", "Firefox 999999"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := browserText(c.agent); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
