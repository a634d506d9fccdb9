// Package caller carries who makes a request from the wall around the site (package web) to what answers it.
//
//	ctx = caller.With(ctx, caller.Caller{Identity: access.Local(), Peer: access.Peer{At: "localhost"}})
//	caller.Of(ctx).Name // "local"
//
// A request without a caller is nobody's: the zero Caller may do nothing.
package caller

import (
	"context"
	"time"

	"breakwater/appliance/access"
)

// Cookie is the name of the cookie of a login. Browsers take the prefix only with Secure, Path=/ and without Domain.
const Cookie = "__Host-breakwater"

// Caller is who makes a request, and from where.
type Caller struct {
	access.Identity
	Peer access.Peer
	// Connected is when the TCP connection of this request was accepted. A browser that confirms a change must have
	// reached the box after it. Zero: over the unix socket, which no change of the network cuts off.
	Connected time.Time
}

type key struct{}

// With returns ctx with the caller of a request.
func With(ctx context.Context, c Caller) context.Context { return context.WithValue(ctx, key{}, c) }

// Of is the caller of a request.
func Of(ctx context.Context) Caller {
	c, _ := ctx.Value(key{}).(Caller)
	return c
}
