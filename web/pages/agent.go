package pages

import "strings"

// browserNames are what to look for in a User-Agent, the most telling first: they all claim to be the others too.
var browserNames = []struct{ sign, name string }{
	{"Edg/", "Edge"}, {"OPR/", "Opera"}, {"Vivaldi/", "Vivaldi"}, {"SamsungBrowser/", "Samsung Internet"}, {"Firefox/", "Firefox"}, {"FxiOS/", "Firefox"},
	{"HeadlessChrome/", "Chrome"}, {"CriOS/", "Chrome"}, {"Chrome/", "Chrome"}, {"Version/", "Safari"}, {"curl/", "curl"},
}

// systemNames likewise: Android says Linux too, and iPhones say Mac OS X.
var systemNames = []struct{ sign, name string }{
	{"Android", "Android"}, {"iPhone", "iPhone"}, {"iPad", "iPad"}, {"Windows", "Windows"}, {"Mac OS X", "macOS"}, {"CrOS", "ChromeOS"}, {"Linux", "Linux"},
}

// browserText is a User-Agent in a few words: Firefox 140, Linux. What is not known is shown as it came, cut: it is
// only what a stranger says of itself.
func browserText(agent string) string {
	text := ""
	for _, b := range browserNames {
		if _, version, ok := strings.Cut(agent, b.sign); ok {
			digits := len(version) - len(strings.TrimLeft(version, "0123456789"))
			text = strings.TrimSpace(b.name + " " + version[:min(digits, 6)])
			break
		}
	}
	for _, s := range systemNames {
		if text != "" && strings.Contains(agent, s.sign) {
			return text + ", " + s.name
		}
	}
	if text != "" {
		return text
	}
	return shown([]byte(agent[:min(len(agent), 60)]))
}
