package pages

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// catalogue is every text that pages show, by key. A translation is another folder beside text/en with the same keys.
type catalogue map[string]string

// readCatalogue reads all files of a folder. A key that two files have would be a mistake nobody sees.
func readCatalogue(from fs.FS, folder string) (catalogue, error) {
	names, err := fs.Glob(from, folder+"/*.json")
	if err != nil {
		return nil, err
	}
	all := make(catalogue)
	for _, name := range names {
		data, err := fs.ReadFile(from, name)
		if err != nil {
			return nil, fmt.Errorf("read texts: %w", err)
		}
		var part catalogue
		if err := json.Unmarshal(data, &part); err != nil {
			return nil, fmt.Errorf("read texts %s: %w", name, err)
		}
		for key, text := range part {
			if _, twice := all[key]; twice {
				return nil, fmt.Errorf("read texts %s: %s is there twice", name, key)
			}
			all[key] = text
		}
	}
	return all, nil
}

// say is the text of key with {0}, {1} … replaced. A key that does not exist is shown as it is: a page with one odd
// word is worth more than none. A test looks that no template has one.
func (c catalogue) say(key string, arguments ...any) string {
	text, ok := c[key]
	if !ok {
		return key
	}
	for i, argument := range arguments {
		text = strings.ReplaceAll(text, "{"+strconv.Itoa(i)+"}", fmt.Sprint(argument))
	}
	return text
}

// count is the text for a number of things, from key.one or key.other; {0} is the number.
func (c catalogue) count(key string, n any) string {
	number := fmt.Sprint(n)
	if number == "1" {
		return c.say(key+".one", number)
	}
	return c.say(key+".other", number)
}

// has tells whether there is a text, for keys that come from outside.
func (c catalogue) has(key string) bool { _, ok := c[key]; return ok }
