package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"breakwater/appliance/status"
)

const (
	// heartbeat keeps idle streams open through whatever forgets idle connections, and finds readers that are gone.
	heartbeat = 15 * time.Second
	// eventWait is how long a reader may take no byte before its stream ends.
	eventWait = 10 * time.Second
)

// StreamEvents sends the begin and end of every session and flow as server-sent events, from now on.
func (a *API) StreamEvents(c echo.Context) error {
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
	var beating sync.WaitGroup
	beating.Go(func() { s.beat(ctx, cancel) })
	_ = a.Control.Events(ctx, s.event) // ends with its reader, whom nobody can tell why
	cancel()
	beating.Wait()
	return nil
}

// stream writes to one reader.
type stream struct {
	mu       sync.Mutex
	response http.ResponseWriter
}

func (s *stream) event(e status.Event) error {
	data, err := json.Marshal(e)
	if err != nil {
		return err
	}
	return s.send(fmt.Sprintf("event: %s\ndata: %s\n\n", e.Type, data))
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

func (s *stream) beat(ctx context.Context, cancel context.CancelFunc) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if s.send(": beat\n\n") != nil {
				cancel()
				return
			}
		}
	}
}
