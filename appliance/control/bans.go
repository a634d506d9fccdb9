package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"breakwater/appliance/edgelink"
	"breakwater/appliance/health"
	"breakwater/appliance/plan"
	"breakwater/appliance/status"
	"breakwater/appliance/store"
)

// Ban is a prefix whose clients are turned away.
type Ban = store.Ban

// BanRefused is a ban that would hurt the operator, or cannot be meant. Why is a sentence.
type BanRefused struct{ Why string }

func (e *BanRefused) Error() string { return e.Why }

// bans is the list as the store has it, kept here because edge is compared with it every second.
type bans struct {
	pushing sync.Mutex // so that an older list never reaches edge behind a newer one; taken before mu

	mu    sync.Mutex
	list  []Ban // in the order of prefixes
	print string
}

// loadBans reads what the store has.
func (c *Control) loadBans() error {
	list, err := c.store.Bans()
	if err != nil {
		return err
	}
	c.bans.mu.Lock()
	defer c.bans.mu.Unlock()
	c.bans.replace(list)
	return nil
}

// replace takes over the list. The caller holds mu.
func (b *bans) replace(list []Ban) {
	slices.SortFunc(list, func(a, b Ban) int { return a.Prefix.Compare(b.Prefix) })
	b.list = list
	b.print = plan.BansFingerprint(b.planned())
}

// planned are the bans as edge takes them. The caller holds mu.
func (b *bans) planned() []plan.Ban {
	list := make([]plan.Ban, len(b.list))
	for i, ban := range b.list {
		list[i] = plan.Ban{Prefix: ban.Prefix, Until: ban.Until}
	}
	return list
}

// without is the list without the bans of prefix. The caller holds mu.
func (b *bans) without(prefix netip.Prefix) []Ban {
	return slices.DeleteFunc(slices.Clone(b.list), func(b Ban) bool { return b.Prefix == prefix })
}

// Bans are those in force, ordered by prefix.
func (c *Control) Bans() ([]Ban, error) {
	c.bans.mu.Lock()
	defer c.bans.mu.Unlock()
	now := c.now()
	return slices.DeleteFunc(slices.Clone(c.bans.list), func(b Ban) bool { return over(b, now) }), nil
}

func over(b Ban, now time.Time) bool { return plan.Ban{Until: b.Until}.Over(now) }

// Ban turns the clients of prefix away, until until (zero: for ever), and ends what they have open before it returns. It
// replaces a ban of the same prefix. protect are addresses that must not be banned, such as the operator's own. The
// errors are *BanRefused and those of the store. Without edge the ban is stored, and in force when edge is back.
func (c *Control) Ban(ctx context.Context, prefix netip.Prefix, until time.Time, reason, author string, protect ...netip.Addr) error {
	prefix = plan.NormalPrefix(prefix)
	if why := c.refuseBan(ctx, prefix, until, protect); why != "" {
		return &BanRefused{why}
	}
	if err := c.storeBan(Ban{Prefix: prefix, Reason: reason, Author: author, Since: c.now().UTC(), Until: until.UTC()}); err != nil {
		return err
	}
	c.log.Info("ban", "prefix", prefix, "until", until, "author", author, "reason", reason)
	c.pushBans(ctx)
	return nil
}

func (c *Control) storeBan(b Ban) error {
	c.bans.mu.Lock()
	defer c.bans.mu.Unlock()
	list := c.bans.without(b.Prefix)
	if len(list) >= plan.MaxBans {
		return &BanRefused{fmt.Sprintf("There are %d bans already, and no more are possible. Ban a wider network instead of many addresses.", len(list))}
	}
	if err := c.store.PutBan(b); err != nil {
		return err
	}
	c.bans.replace(append(list, b))
	return nil
}

// Unban lets the clients of prefix in again. ErrNotFound: exactly this prefix is not banned.
func (c *Control) Unban(ctx context.Context, prefix netip.Prefix) error {
	prefix = plan.NormalPrefix(prefix)
	if err := c.forgetBan(prefix); err != nil {
		return err
	}
	c.log.Info("unban", "prefix", prefix)
	c.pushBans(ctx)
	return nil
}

func (c *Control) forgetBan(prefix netip.Prefix) error {
	c.bans.mu.Lock()
	defer c.bans.mu.Unlock()
	if err := c.store.DeleteBan(prefix); err != nil {
		return err
	}
	c.bans.replace(c.bans.without(prefix))
	return nil
}

// forgetExpired removes what is over.
func (c *Control) forgetExpired() error {
	c.bans.mu.Lock()
	defer c.bans.mu.Unlock()
	now := c.now()
	isOver := func(b Ban) bool { return over(b, now) }
	if !slices.ContainsFunc(c.bans.list, isOver) {
		return nil
	}
	for _, b := range c.bans.list {
		if !isOver(b) {
			continue
		}
		if err := c.store.DeleteBan(b.Prefix); err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	c.bans.replace(slices.DeleteFunc(slices.Clone(c.bans.list), isOver))
	return nil
}

// pushBans gives edge the whole list. When that fails Run goes on trying.
func (c *Control) pushBans(ctx context.Context) {
	c.bans.pushing.Lock()
	defer c.bans.pushing.Unlock()
	c.bans.mu.Lock()
	list := c.bans.planned()
	c.bans.mu.Unlock()
	switch err := c.edge.SetBans(context.WithoutCancel(ctx), list); {
	case err == nil:
		c.conditions.Clear("bans-refused", "")
	case errors.Is(err, edgelink.ErrUnreachable):
		c.raiseUnreachable(err)
	default:
		c.raiseBansRefused(err)
	}
}

func (c *Control) raiseBansRefused(err error) {
	c.conditions.Raise(health.Condition{Code: "bans-refused", Severity: health.Warning,
		Title: "The data plane does not have the current bans", Detail: sentence(err) + ". It is tried again every second."})
}

// keepBans brings edge on the bans that are stored: it was restarted with an older list, a push failed, one is over.
func (c *Control) keepBans(ctx context.Context, seen status.Edge) {
	if err := c.forgetExpired(); err != nil {
		c.raiseBansRefused(err)
		return
	}
	c.bans.mu.Lock()
	wanted := c.bans.print
	c.bans.mu.Unlock()
	if seen.Bans != wanted {
		c.pushBans(ctx)
		return
	}
	c.conditions.Clear("bans-refused", "")
}
