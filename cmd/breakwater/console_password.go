package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"breakwater/appliance/access"
)

// resetPassword gives an account a password that is shown once.
func (m *menu) resetPassword(ctx context.Context) error {
	var list []access.Account
	if err := m.box.get(ctx, "/api/v1/accounts", &list); err != nil {
		return err
	}
	if len(list) == 0 {
		return errors.New("there are no accounts yet; claim the box on its page with the setup code")
	}
	t := newTable("", "NAME", "ROLE", "LAST LOGIN", "SECOND FACTOR")
	names := make([]string, len(list))
	for i, a := range list {
		names[i] = a.Name
		t.row(fmt.Sprint(i+1), a.Name, string(a.Role), moment(a.LastLogin), factorOf(a))
	}
	if err := t.print(m.out); err != nil {
		return err
	}
	m.say("")
	i, err := m.pick(ctx, "Account", names)
	if err != nil {
		return err
	}
	account := list[i]
	remove, err := m.askFactors(ctx, account)
	if err != nil {
		return err
	}
	m.say("The account %s gets a new password, which is shown here once. Its logins end.", account.Name)
	if err := m.sure(ctx, "yes", "set it"); err != nil {
		return err
	}
	path := "/api/v1/accounts/" + url.PathEscape(account.Name)
	password := newPassword()
	body, err := json.Marshal(map[string]string{"password": password})
	if err != nil {
		return err
	}
	if err := m.box.call(ctx, http.MethodPut, path+"/password", nil, body, nil); err != nil {
		return err
	}
	m.say("\nThe new password of %s:\n\n  %s\n\nChange it on the page, at your name.", account.Name, password)
	if remove {
		return m.removeFactors(ctx, path, account)
	}
	return nil
}

// askFactors asks whether what is asked for besides the password was lost too.
func (m *menu) askFactors(ctx context.Context, account access.Account) (remove bool, err error) {
	if !account.TOTP && len(account.Passkeys) == 0 {
		return false, nil
	}
	m.say("It has a second factor: %s. Without it, the password alone is enough.", factorOf(account))
	err = m.read(ctx, "Remove it, yes or no", func(line string) error {
		remove = line == "yes"
		if line != "yes" && line != "no" {
			return errors.New("type yes or no")
		}
		return nil
	})
	return remove, err
}

func (m *menu) removeFactors(ctx context.Context, path string, account access.Account) error {
	var errs []error
	if account.TOTP {
		errs = append(errs, m.box.call(ctx, http.MethodDelete, path+"/totp", nil, nil, nil))
	}
	for _, k := range account.Passkeys {
		errs = append(errs, m.box.call(ctx, http.MethodDelete, path+"/passkeys/"+url.PathEscape(k.ID), nil, nil, nil))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("the password is set, but the second factor is not removed: %w", err)
	}
	m.say("Its second factor is removed.")
	return nil
}

// newPassword has 100 bits, in letters and digits that are not mistaken for each other (RFC 4648, base 32), in groups
// that can be typed from a screen.
func newPassword() string {
	text := strings.ToLower(rand.Text())
	return strings.Join([]string{text[:5], text[5:10], text[10:15], text[15:20]}, "-")
}
