//go:build e2e

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"breakwater/appliance/settings"
	"breakwater/test/lab"
)

// acknowledged is a revision that control said it has.
type acknowledged struct {
	number   uint64
	document []byte
}

// TestKillOfControlLosesNoRevision: 500 changes over the API while control is killed again and again. What was
// acknowledged is there afterwards, to the byte, and the players notice nothing.
func TestKillOfControlLosesNoRevision(t *testing.T) {
	const writes, kills = 500, 12
	v4, v6 := pool("games", families[0].origin), pool("games6", families[1].origin)
	numbered := func(n int) []byte {
		first, second := service("games", "1600"), service("games6", "1600")
		second.Pool = "games6"
		first.Addresses, second.Addresses = networks(families[0].edge.String()), networks(families[1].edge.String())
		first.Limits.MaxSessions = 10000 + n // makes each document another one
		return settings.Encode(document([]settings.Pool{v4, v6}, first, second))
	}
	if out := breakwater(t, numbered(0), "apply", "-"); out.code != 0 {
		t.Fatal(out.stderr)
	}
	var held []*held
	for _, f := range families {
		held = append(held, hold(t, f, 1600, 100, 20))
	}
	var acks []acknowledged
	var written atomic.Int64
	killed := make(chan int, 1)
	go func() { killed <- killControl(t, kills, writes, &written) }()
	for n := 1; n <= writes && !t.Failed(); n++ {
		if ack, ok := put(t, numbered(n)); ok {
			acks = append(acks, ack)
		}
		written.Add(1)
		if n%90 == 0 { // at least 100 revisions are kept
			hasRevisions(t, acks)
			acks = acks[:0]
			playersGoOn(t)
		}
	}
	if n := receive(t, killed); n != kills {
		t.Errorf("control was killed %d times, want %d", n, kills)
	}
	inForce(t)
	hasRevisions(t, acks)
	for i, f := range families {
		t.Run(f.name, func(t *testing.T) { held[i].verify(t) })
	}
}

// playersGoOn expects that new clients are served, whatever control does.
func playersGoOn(t *testing.T) {
	t.Helper()
	for _, f := range families {
		if err := servedBy(f.at(1600), "games-1"); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
	}
}

// killControl kills control at even steps of the writes, each a random moment later, and returns how often.
func killControl(t *testing.T, kills, writes int, written *atomic.Int64) (done int) {
	for end := time.Now().Add(3 * time.Minute); done < kills && time.Now().Before(end); {
		if int(written.Load()) < (done+1)*writes/(kills+2) {
			time.Sleep(time.Millisecond)
			continue
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		pid, err := lab.Child("control")
		if err != nil {
			continue // not started again yet
		}
		if syscall.Kill(pid, syscall.SIGKILL) == nil {
			done++
		}
	}
	return done
}

// put proposes a document and reports what control acknowledged. While control is dead it waits.
func put(t *testing.T, document []byte) (a acknowledged, ok bool) {
	t.Helper()
	client := api(t)
	for end := time.Now().Add(patience); ; {
		request, err := http.NewRequest(http.MethodPut, "http://box/api/v1/settings", bytes.NewReader(document))
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(request)
		if err == nil {
			return acknowledgement(t, response, document)
		}
		if !strings.Contains(err.Error(), "connect") && !strings.Contains(err.Error(), "no such file") {
			return a, false // killed over it: it may be there or not
		}
		if time.Now().After(end) {
			t.Fatalf("control did not come back: %v", err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func acknowledgement(t *testing.T, response *http.Response, document []byte) (a acknowledged, ok bool) {
	t.Helper()
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return a, false
	}
	var result struct{ Revision uint64 }
	if err := json.Unmarshal(text, &result); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("got %s: %s", response.Status, text)
		return a, false
	}
	return acknowledged{result.Revision, document}, true
}

// hasRevisions expects every acknowledged revision in the store.
func hasRevisions(t *testing.T, acks []acknowledged) {
	t.Helper()
	inForce(t)
	client := api(t)
	for _, a := range acks {
		eventually(t, func() error { // control may be killed in the middle
			response, err := client.Get(fmt.Sprintf("http://box/api/v1/revisions/%d", a.number))
			if err != nil {
				return err
			}
			defer response.Body.Close()
			text, err := io.ReadAll(response.Body)
			if err == nil && !bytes.Equal(text, a.document) {
				err = fmt.Errorf("revision %d: got %s: %.80q, want the document that was acknowledged", a.number, response.Status, text)
			}
			return err
		})
	}
}

// TestUnconfirmedChangeIsReverted: at its deadline, also when control was killed inside the window. Both families wait for the same.
func TestUnconfirmedChangeIsReverted(t *testing.T) {
	onPort := func(port string) settings.Settings {
		v4, v6 := service("games", port), service("games6", port)
		v6.Pool = "games6"
		v4.Addresses, v6.Addresses = networks(families[0].edge.String()), networks(families[1].edge.String())
		return document([]settings.Pool{pool("games", families[0].origin), pool("games6", families[1].origin)}, v4, v6)
	}
	serves := func(t *testing.T, port uint16) {
		t.Helper()
		for _, f := range families {
			eventually(t, func() error { return servedBy(f.at(port), "games-1") })
		}
	}
	for how, window := range map[string]string{"in peace": "5s", "killed in the window": "5s", "confirmed": "1m"} {
		t.Run(how, func(t *testing.T) {
			apply(t, onPort("1601"))
			revision := boxStatus(t).Revision
			out := breakwater(t, settings.Encode(onPort("1602")), "apply", "-", "--confirm", window)
			if out.code != 0 || !strings.Contains(out.stdout, "confirm") {
				t.Fatalf("got %q, want how to confirm", out.stdout+out.stderr)
			}
			serves(t, 1602)
			switch how {
			case "killed in the window":
				end(t, "control", syscall.SIGKILL)
			case "confirmed":
				if out := breakwater(t, nil, "confirm"); out.code != 0 {
					t.Fatal(out.stderr)
				}
				if s := boxStatus(t); s.Revision != revision+1 || s.Pending != nil {
					t.Errorf("got revision %d, want %d", s.Revision, revision+1)
				}
				return
			}
			serves(t, 1601)
			for _, f := range families {
				closes(t, connect(t, f.at(1602)), nil)
			}
			inForce(t)
			if s := boxStatus(t); s.Revision != revision || s.Pending != nil {
				t.Errorf("got revision %d (%v pending), want %d", s.Revision, s.Pending, revision)
			}
		})
	}
}
