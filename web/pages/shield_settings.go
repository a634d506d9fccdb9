package pages

import (
	"cmp"
	"net/http"
	"net/url"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/settings"
)

// filterView is the form of the front filter. Fields are named as the settings name them.
type filterView struct {
	Form   form
	Base   uint64
	Others []settings.Problem
}

var filterFields = []string{"shield.mode", "shield.fragments", "shield.bogons"}

// FilterForm shows how the filter is set.
func (p *Pages) FilterForm(c echo.Context) error {
	now, base, err := p.current()
	if err != nil {
		return err
	}
	values := url.Values{
		"shield.mode": {cmp.Or(now.Shield.Mode, "on")}, "shield.fragments": {cmp.Or(now.Shield.Fragments, "limit")},
		"shield.bogons": {checkedText(now.Shield.Bogons)},
	}
	return p.showFilter(c, http.StatusOK, now, filterView{Form: form{Values: values}, Base: base})
}

func (p *Pages) showFilter(c echo.Context, code int, now settings.Settings, view filterView) error {
	view.Others = p.placed(view.Form.Others(filterFields...), now)
	return p.render(c, code, "filter", view)
}

// FilterSave reviews what the form would change.
func (p *Pages) FilterSave(c echo.Context) error {
	values, base, draft, err := p.sent(c)
	if err != nil {
		return err
	}
	t := typed{values: values}
	draft.Shield.Mode = t.chosen("shield.mode", draft.Shield.Mode, "on")
	draft.Shield.Fragments = t.chosen("shield.fragments", draft.Shield.Fragments, "limit")
	draft.Shield.Bogons = t.on("shield.bogons")
	problems, err := p.review(c, t.with(draft.Validate()), draft, base, "/shield")
	if len(problems) == 0 {
		return err
	}
	return p.showFilter(c, http.StatusUnprocessableEntity, draft, filterView{Form: form{Values: values, Problems: problems}, Base: base})
}

// FilterMode shows what another mode of the filter would change.
func (p *Pages) FilterMode(c echo.Context) error {
	draft, base, err := p.current()
	if err != nil {
		return err
	}
	t := typed{values: url.Values{"mode": {c.Param("mode")}}}
	draft.Shield.Mode = t.chosen("mode", draft.Shield.Mode, "on")
	return p.reviewOr(c, draft, base, "/shield")
}
