//go:build e2e

package torture

import (
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"

	"breakwater/test/lab"
	"breakwater/test/torture/loss"
)

// largeVariable asks for another size of the large streams, in MiB.
const largeVariable = "BREAKWATER_TORTURE_MIB"

func largeMiB(t *testing.T) int64 {
	t.Helper()
	text, ok := os.LookupEnv(largeVariable)
	if !ok {
		return 16
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("%s is %q, want a number of MiB", largeVariable, text)
	}
	return n
}

// torture is one case in one weather.
type torture struct {
	way
	large int64 // bytes of a large stream
	calm  bool  // nothing is lost, doubled or late
}

var cases = []struct {
	name string
	run  func(*testing.T, torture)
}{
	{"down", down},
	{"up", up},
	{"both ways at once", bothWays},
	{"the client has finished, the origin goes on", clientFinishes},
	{"the origin has finished, the client goes on", originFinishes},
	{"the client resets", clientResets},
	{"the origin resets", originResets},
	{"the server speaks first", serverFirst},
	{"the client stalls", clientStalls},
	{"the origin stalls", originStalls},
	{"300 clients send and go", clientsGo},
	{"300 origins send and go", originsGo},
	{"trickling writers", trickle},
	{"a port again, closed by the client", clientClosesFirst},
	{"a port again, closed by the origin", originClosesFirst},
	{"nobody listens", nobodyListens},
	{"datagrams", datagrams},
}

// TestStreams runs every case in every weather, the cases of a weather at the same time. IP version and kind of header
// go round, so that each weather meets all six pairs of them, and each case does with large packets and with plain ones.
func TestStreams(t *testing.T) {
	large := largeMiB(t) << 20
	clientsReusePorts(t)
	for _, engine := range engines {
		t.Run(engine, func(t *testing.T) {
			document := streamsDocument(engine)
			apply(t, document)
			for kind := range headers {
				for _, f := range families {
					newWay(t, f, kind, 999).carriedBy(t, engine)
				}
			}
			var port uint16 // of each kind of header
			for i, w := range weathers {
				t.Run(w.name, func(t *testing.T) {
					sky := w.begin(t, document)
					var running sync.WaitGroup
					for j, c := range cases {
						pair, at := (i/2+3*(i%2)+j)%6, port // i/2 is the kind of loss
						port++
						running.Go(func() {
							t.Run(c.name, func(t *testing.T) {
								c.run(t, torture{newWay(t, families[pair%2], pair/2, at), large / w.share, w.loss == (loss.Weather{})})
							})
						})
					}
					running.Wait()
					sky.happened(t, w)
					if t.Failed() {
						t.Log("What became of packets:", sky)
					}
				})
			}
		})
	}
}

// newWay listens at the origin for a kind of header.
func newWay(t *testing.T, f family, kind int, number uint16) way {
	t.Helper()
	port := headers[kind].from + number
	l := listen(t, lab.Origin, netip.AddrPortFrom(f.origin, port))
	t.Logf("%s, header %s, port %d", f.name, headers[kind].name, port)
	return way{family: f, header: headers[kind].name, dialled: netip.AddrPortFrom(f.edge, port), listener: l}
}
