package edgelink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
)

// chunk is how much of a list is read at a time, in bytes. A buffer that grows would leave twice the list behind.
const chunk = 256 << 10

// RawSessions lists sessions and flows as edge wrote them, the JSON of a status.SessionList: all of 50,000 as values
// would take several times the memory that control needs otherwise.
func (l *Link) RawSessions(ctx context.Context, q SessionQuery) (net.Buffers, error) {
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	response, err := l.do(ctx, http.MethodGet, "/sessions?"+q.values().Encode(), nil)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	var list net.Buffers
	for body := io.LimitReader(response.Body, maxAnswer); ; {
		part := make([]byte, chunk)
		n, err := io.ReadFull(body, part)
		list = append(list, part[:n])
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return list, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%w: read its sessions: %w", ErrUnreachable, err)
		}
	}
}
