package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"syscall"
	"time"

	"breakwater/appliance/settings"
)

const (
	answerWait   = 30 * time.Second // for the head of an answer
	maxRedirects = 3
)

// What does not happen where a server of others must not be.
const (
	nothingFetched = "where nothing is fetched from"
	nothingSent    = "where no message is sent"
)

// openURL asks a server for a file; what is its name in errors. Without a dial it reaches any server but this box itself and
// what is next to it.
func (c *Control) openURL(ctx context.Context, what, from string, dial func(context.Context, string, string) (net.Conn, error)) (io.ReadCloser, int64, error) {
	if dial == nil {
		dial = (&net.Dialer{Timeout: answerWait, ControlContext: c.guard(nothingFetched)}).DialContext
	}
	client := http.Client{
		Transport: &http.Transport{DialContext: dial, TLSHandshakeTimeout: answerWait, ResponseHeaderTimeout: answerWait, DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return fmt.Errorf("it leads elsewhere more than %d times", maxRedirects)
			}
			return fetchable(what, r.URL)
		},
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, from, http.NoBody)
	if err != nil {
		return nil, 0, fmt.Errorf("the URL of the %s cannot be used: %w", what, err)
	}
	if err := fetchable(what, request.URL); err != nil {
		return nil, 0, err
	}
	response, err := client.Do(request)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the method and the URL, which is known
		}
		return nil, 0, fmt.Errorf("the %s cannot be fetched: %w", what, err)
	}
	if response.StatusCode != http.StatusOK {
		return nil, 0, errors.Join(fmt.Errorf("the %s cannot be fetched: the server answered %s", what, response.Status), response.Body.Close())
	}
	return response.Body, response.ContentLength, nil
}

func fetchable(what string, u *url.URL) error {
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return fmt.Errorf("the %s is fetched by https or http only", what)
	}
	return nil
}

// guard makes what is asked about every address before it is dialled, also after a redirect and whatever a name leads to: the
// box must not be made to ask itself or what only it can reach, such as the metadata service of a cloud. Nothing is what
// does not happen there, as a clause.
func (c *Control) guard(nothing string) func(ctx context.Context, network, address string, _ syscall.RawConn) error {
	return func(_ context.Context, _, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil {
			return err
		}
		own, err := c.ownAddresses()
		if err != nil {
			return err
		}
		return refuseServer(at.Addr(), own, nothing)
	}
}

// refuseServer says why the box must not connect to an address.
func refuseServer(address netip.Addr, own []netip.Prefix, nothing string) error {
	address = address.Unmap().WithZone("") // prefixes know neither form
	for _, r := range settings.SpecialRanges() {
		if r.Prefix.Contains(address) {
			return fmt.Errorf("its address %s is %s, %s", address, r.What, nothing)
		}
	}
	if slices.ContainsFunc(own, func(p netip.Prefix) bool { return p.Contains(address) }) {
		return fmt.Errorf("its address %s is this box's own", address)
	}
	return nil
}

// ownAddresses are those of the interfaces, and those that edge answers.
func (c *Control) ownAddresses() ([]netip.Prefix, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, fmt.Errorf("list this box's addresses: %w", err)
	}
	var list []netip.Prefix
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			list = append(list, single(p.Addr()))
		}
	}
	if wanted, _ := c.wish(); wanted != nil {
		list = append(list, wanted.Steering.Addresses...)
	}
	return list, nil
}
