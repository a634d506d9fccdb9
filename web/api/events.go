package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/access"
	"breakwater/appliance/status"
	"breakwater/web/caller"
)

const (
	// heartbeat keeps idle streams open through whatever forgets idle connections, and finds readers that are gone.
	heartbeat = 15 * time.Second
	// eventWait is how long a reader may take no byte before its stream ends.
	eventWait = 10 * time.Second
)

// StreamEvents sends the begin and end of every session and flow as server-sent events, from now on.
func (a *API) StreamEvents(c echo.Context) error {
	return a.stream(c, func(ctx context.Context, s *stream) error {
		return a.Control.Events(ctx, func(e status.Event) error { return s.event(string(e.Type), e) })
	})
}

// stream answers with server-sent events (HTML, section 9.2) until send returns, the reader is gone, or the login or
// token that opened it is over.
func (a *API) stream(c echo.Context, send func(context.Context, *stream) error) error {
	ctx, cancel := context.WithCancel(c.Request().Context())
	defer cancel()
	// The time limits of the server are for answers that end.
	if err := http.NewResponseController(c.Response()).SetReadDeadline(time.Time{}); err != nil {
		return fmt.Errorf("stream events: %w", err)
	}
	s := &stream{response: c.Response()}
	c.Response().Header().Set("Content-Type", "text/event-stream")
	c.Response().WriteHeader(http.StatusOK)
	if err := s.send(": breakwater\n\n"); err != nil {
		return nil // the reader is gone
	}
	var watching sync.WaitGroup
	watching.Go(func() { a.beat(ctx, cancel, s, callerOf(c)) })
	watching.Go(func() { a.Access.AwaitEnd(ctx, callerOf(c).Identity); cancel() })
	_ = send(ctx, s) // ends with its reader, whom nobody can tell why
	cancel()
	watching.Wait()
	return nil
}

// beat ends the stream of a reader that is gone, or is no more in the management networks.
func (a *API) beat(ctx context.Context, cancel context.CancelFunc, s *stream, who caller.Caller) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if !a.mayReach(who) || s.send(": beat\n\n") != nil {
				cancel()
				return
			}
		}
	}
}

// mayReach tells whether a reader is still in the management networks. A request is let in once, a stream goes on for days.
func (a *API) mayReach(who caller.Caller) bool {
	return who.Way == access.BySocket || a.Control.MayReach(who.Peer.Addr)
}

// stream writes to one reader.
type stream struct {
	mu       sync.Mutex
	response http.ResponseWriter
}

func (s *stream) event(name string, content any) error {
	data, err := json.Marshal(content)
	if err != nil {
		return err
	}
	return s.send(fmt.Sprintf("event: %s\ndata: %s\n\n", name, data))
}

func (s *stream) send(text string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	control := http.NewResponseController(s.response)
	if err := control.SetWriteDeadline(time.Now().Add(eventWait)); err != nil {
		return err
	}
	if _, err := s.response.Write([]byte(text)); err != nil {
		return err
	}
	return control.Flush()
}
