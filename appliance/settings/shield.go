package settings

import "cmp"

// Shield is the front filter: what is dropped before the kernel spends anything on it.
type Shield struct {
	Mode string `json:"mode,omitempty"` // on (default), monitor (counts what it would drop, and lets it pass), off
}

func (s Shield) withDefaults() Shield {
	s.Mode = cmp.Or(s.Mode, "on")
	return s
}

func (v *validator) shield(at path, s Shield) {
	v.oneOf(at.field("mode"), s.Mode, "on", "monitor", "off")
}
