package control

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"breakwater/appliance/alert"
	"breakwater/appliance/settings"
	"breakwater/appliance/store"
)

// SecretInfo is what may be told of a secret: never itself.
type SecretInfo struct {
	Name   string    `json:"name"`           // "email", or "webhook:" and the name of the webhook
	Set    bool      `json:"set"`            // it is there
	Needed bool      `json:"needed"`         // the current settings name it
	Author string    `json:"author"`         // who set it
	Since  time.Time `json:"since,omitzero"` // when; zero: it is not set
}

// SecretRefused is a secret that cannot be used. Why is a sentence and does not show it.
type SecretRefused struct{ Why string }

func (e *SecretRefused) Error() string { return e.Why }

const (
	maxSecrets  = 64
	maxPassword = 1024
)

// Secrets lists what is set and what the current settings need, ordered by name.
func (c *Control) Secrets() ([]SecretInfo, error) {
	stored, err := c.store.Secrets()
	if err != nil {
		return nil, err
	}
	s, err := c.currentSettings()
	if err != nil {
		return nil, err
	}
	needed := s.Secrets()
	list := []SecretInfo{}
	for _, n := range stored {
		list = append(list, SecretInfo{n.Name, true, slices.Contains(needed, n.Name), n.Author, n.Since})
	}
	for _, name := range needed {
		if !slices.ContainsFunc(list, func(i SecretInfo) bool { return i.Name == name }) {
			list = append(list, SecretInfo{Name: name, Needed: true})
		}
	}
	slices.SortFunc(list, func(a, b SecretInfo) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// SetSecret keeps a secret in place of any other with its name. The errors are *SecretRefused and those of the store.
func (c *Control) SetSecret(name, secret, author string) error {
	if err := checkSecret(name, secret); err != nil {
		return &SecretRefused{sentence(err) + "."}
	}
	stored, err := c.store.Secrets()
	if err != nil {
		return err
	}
	if len(stored) >= maxSecrets && !slices.ContainsFunc(stored, func(n store.NamedSecret) bool { return n.Name == name }) {
		return &SecretRefused{fmt.Sprintf("There are %d secrets already. Delete those that are not needed.", len(stored))}
	}
	if err := c.store.PutSecret(store.NamedSecret{Name: name, Secret: store.Secret(secret), Author: author, Since: c.now().UTC()}); err != nil {
		return err
	}
	c.alerts.change()
	return nil
}

// DeleteSecret forgets a secret; ErrNotFound when it is not set.
func (c *Control) DeleteSecret(name string) error {
	if err := c.store.DeleteSecret(name); err != nil {
		return err
	}
	c.alerts.change()
	return nil
}

func checkSecret(name, secret string) error {
	if name == settings.EmailSecret {
		if secret == "" || len(secret) > maxPassword || strings.ContainsFunc(secret, func(r rune) bool { return r < ' ' }) {
			return fmt.Errorf("a password has 1 to %d characters, none of them a control character", maxPassword)
		}
		return nil
	}
	webhook, ok := strings.CutPrefix(name, "webhook:")
	if !ok || !settings.IsName(webhook) {
		return fmt.Errorf("%.60q is not the name of a secret; one is \"email\", or \"webhook:\" and the name of a webhook", name)
	}
	return alert.CheckURL(secret)
}
