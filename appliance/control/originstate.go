package control

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"breakwater/appliance/settings"
)

// ErrNoOrigin means that no pool has this origin.
var ErrNoOrigin = errors.New("there is no such origin")

// SetOriginState proposes the current settings with another state of one origin, which goes by its name or by the name
// it has by default. It is the one change of the settings that an operator may make, so nothing else can come with it.
func (c *Control) SetOriginState(ctx context.Context, pool, origin, state, author string) (Result, error) {
	if !slices.Contains([]string{"active", "drain", "maintenance"}, state) {
		return Result{}, &Invalid{[]settings.Problem{{Field: "state", Text: fmt.Sprintf("%.40q is not a state; write active, drain or maintenance", state)}}}
	}
	current, err := c.store.Current()
	if err != nil && !errors.Is(err, ErrNotFound) {
		return Result{}, err
	}
	s := decodeStored(current.Document)
	o := findOrigin(s, pool, origin)
	if o == nil {
		return Result{}, fmt.Errorf("%w: %.60q in the pool %.60q", ErrNoOrigin, origin, pool)
	}
	if o.State = state; state == "active" {
		o.State = "" // the default is left out
	}
	return c.Propose(ctx, settings.Encode(s), Meta{Author: author, Reason: fmt.Sprintf("%s: %s", origin, state), Base: &current.Number})
}

func findOrigin(s settings.Settings, pool, origin string) *settings.Origin {
	named := s.WithDefaults() // those without a name have one there
	for i, p := range named.Pools {
		for j, o := range p.Origins {
			if p.Name == pool && o.Name == origin {
				return &s.Pools[i].Origins[j]
			}
		}
	}
	return nil
}
