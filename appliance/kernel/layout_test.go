package kernel

import (
	"os"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// The counts of bpf/layout.h, in its order.
const (
	leftOther = iota
	leftOff
	leftService
	leftBanned
	leftLimit
	leftOptions
	leftOrigin
	leftFamily
	leftPort
	leftFull
	leftExtension
	leftHalfOpen
	leftCount
)

const (
	dropFragment = iota
	dropMalformed
	dropWindow
	dropTTL
	dropHeader
	dropOversize
	dropAmplification
	dropSPP
	dropICMP
	dropInternal
	dropBogon
	dropCount
)

// TestLayout: a struct is the same in C and in Go, byte by byte.
func TestLayout(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"session": bpfSession{}, "event": bpfEvent{}, "ref": bpfRef{}, "tuple": bpfTuple{}, "address_key": bpfAddressKey{}, "route": bpfRoute{},
		"service": bpfService{}, "pool": bpfPool{}, "member": bpfMember{}, "configuration": bpfConfiguration{}, "total": bpfTotal{},
		"count": bpfCount{}, "interface": bpfInterface{}, "ending": bpfEnding{},
		"cookie_state": bpfCookieState{}, "admission": bpfAdmission{}, "source": bpfSource{}, "holder": bpfHolder{}, "crowding": bpfCrowding{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Errorf("find struct %s: %v", name, err)
			continue
		}
		compareStruct(t, name, c, reflect.TypeOf(v))
	}
	for name, want := range map[string]uintptr{
		"sessions": sessionSize, "tuples": unsafe.Sizeof(bpfRef{}), "config": unsafe.Sizeof(bpfConfiguration{}), "totals": unsafe.Sizeof(bpfTotal{}),
		"service_counts": unsafe.Sizeof(bpfCount{}), "origin_counts": unsafe.Sizeof(bpfCount{}), "interfaces": unsafe.Sizeof(bpfInterface{}),
		"names": nameSize, "bans": 8, "spare": 4, "left": 8, "drops": 8,
	} {
		if got := spec.Maps[name].ValueSize; uintptr(got) != want {
			t.Errorf("the values of map %s have %d bytes, want %d", name, got, want)
		}
	}
	if size := unsafe.Sizeof(bpfSession{}); size != sessionSize {
		t.Errorf("a session has %d bytes, want %d", size, sessionSize)
	}
	// What a program of another version finds.
	if at := unsafe.Offsetof(bpfConfiguration{}.Off); at != offsetOff {
		t.Errorf("configuration.off is at %d, want %d", at, offsetOff)
	}
	if at, next := unsafe.Offsetof(bpfTotal{}.Sessions), unsafe.Offsetof(bpfTotal{}.Flows); at != offsetSessions || next != offsetSessions+8 {
		t.Errorf("total.sessions and flows are at %d and %d, want %d and %d", at, next, offsetSessions, offsetSessions+8)
	}
	for name, most := range map[string]uint32{"service_counts": maxNumber, "origin_counts": maxNumber, "turn_counts": maxPools} {
		if n := spec.Maps[name].MaxEntries; n < most {
			t.Errorf("map %s has %d entries for %d numbers", name, n, most)
		}
	}
	if n := spec.Maps["drops"].MaxEntries; n != 2*dropCount || int(n) != 2*len(dropReasons) {
		t.Errorf("there are %d counts of drops, %d reasons", n, len(dropReasons))
	}
}

// compareStruct compares the size of a struct, and the place and size of each member.
func compareStruct(t *testing.T, name string, c *btf.Struct, g reflect.Type) {
	t.Helper()
	if uintptr(c.Size) != g.Size() {
		t.Errorf("struct %s has %d bytes in C, %d in Go", name, c.Size, g.Size())
	}
	fields := make(map[string]reflect.StructField)
	for f := range g.Fields() {
		fields[strings.ToLower(f.Name)] = f
	}
	for _, m := range c.Members {
		f, known := fields[strings.ReplaceAll(m.Name, "_", "")]
		if !known {
			t.Errorf("struct %s has no %s in Go", name, m.Name)
			continue
		}
		size, err := btf.Sizeof(m.Type)
		if err != nil {
			t.Fatal(err)
		}
		if f.Offset != uintptr(m.Offset.Bytes()) || f.Type.Size() != uintptr(size) {
			t.Errorf("%s.%s is at %d with %d bytes in C, at %d with %d in Go", name, m.Name, m.Offset.Bytes(), size, f.Offset, f.Type.Size())
		}
		inner, array := m.Type, f.Type
		if a, ok := inner.(*btf.Array); ok {
			inner, array = a.Type, array.Elem()
		}
		if s, ok := btf.UnderlyingType(inner).(*btf.Struct); ok {
			compareStruct(t, name+"."+m.Name, s, array)
		}
	}
}

// TestConstants: a number that both sides know is the same.
func TestConstants(t *testing.T) {
	compareConstants(t, constantsOf(t, "bpf/layout.h", "bpf/maps.h"), map[string]int{
		"LAYOUT": layout, "CLIENT": client, "ORIGIN": originSide, "NUMBERS": maxNumber,
		"SIDE_FIN": sideFIN, "SIDE_FINACKED": sideFINAcked, "SIDE_SPOKE": sideSpoke, "SIDE_PROVEN": sideProven, "SESSION_COUNTED": sessionCounted, "BURST_OF_RATE": 5,
		"STATE_FREE": stateFree, "STATE_SYN": stateSYN, "STATE_OPEN": stateOpen, "STATE_CLOSED": stateClosed,
		"SESSION_V4": sessionV4, "SESSION_HEADED": sessionHeaded, "SESSION_TRANSPARENT": sessionTransparent, "SESSION_LONG": sessionLong,
		"SESSION_KILLED": sessionKilled, "SESSION_FIRST_ONLY": sessionFirstOnly,
		"HEADER_NONE": headerNone, "HEADER_V1": headerV1, "HEADER_V2": headerV2, "HEADER_SPP": headerSPP,
		"EVENT_BEGIN": eventBegin, "EVENT_ANSWERED": eventAnswered, "EVENT_END": eventEnd, "EVENT_PROVEN": eventProven,
		"PATH_TCP": pathTCP, "PATH_UDP": pathUDP,
		"CHOICE_HASH": choiceHash, "CHOICE_TURNS": choiceTurns, "CHOICE_LEAST": choiceLeast,
		"MEMBER_NO": memberNo, "MEMBER_YES": memberYes, "MEMBER_TRY": memberTry,
		"PAGES_OF_SET": setPages, "PORTS_OF_PAGE": pagePorts, "MAX_MEMBERS": maxMembers, "MAX_SOURCES": plan.MaxSourceAddresses,
		"REASON_NORMAL": int(status.Normal), "REASON_CLIENT_RESET": int(status.ClientReset), "REASON_ORIGIN_RESET": int(status.OriginReset),
		"REASON_ORIGIN_REFUSED": int(status.OriginRefused), "REASON_CONNECT_TIMEOUT": int(status.ConnectTimeout),
		"REASON_NETWORK_UNREACHABLE": int(status.NetworkUnreachable),
		"LEFT_OTHER":                 leftOther, "LEFT_OFF": leftOff, "LEFT_SERVICE": leftService, "LEFT_BANNED": leftBanned, "LEFT_LIMIT": leftLimit, "LEFT_HALF_OPEN": leftHalfOpen,
		"LEFT_OPTIONS": leftOptions, "LEFT_ORIGIN": leftOrigin, "LEFT_FAMILY": leftFamily, "LEFT_PORT": leftPort, "LEFT_FULL": leftFull,
		"LEFT_EXTENSION": leftExtension, "LEFT_COUNT": leftCount,
		"DROP_FRAGMENT": dropFragment, "DROP_MALFORMED": dropMalformed, "DROP_WINDOW": dropWindow, "DROP_TTL": dropTTL, "DROP_HEADER": dropHeader,
		"DROP_OVERSIZE": dropOversize, "DROP_AMPLIFICATION": dropAmplification, "DROP_SPP": dropSPP, "DROP_ICMP": dropICMP,
		"DROP_INTERNAL": dropInternal, "DROP_BOGON": dropBogon, "DROP_COUNT": dropCount,
		// Those of the program alone.
		"SESSION_ANSWERED": 32, "SESSION_AGAIN": 128,
	})
	for drop, want := range map[int]status.Reason{
		dropFragment: status.Fragment, dropMalformed: status.Malformed, dropWindow: status.OutOfWindow, dropTTL: status.HopLimit,
		dropHeader: status.Internal, dropOversize: status.Oversize, dropAmplification: status.Amplification, dropSPP: status.BadSPP,
		dropICMP: status.OriginUnreachable, dropInternal: status.Internal,
		dropBogon: status.Bogon,
	} {
		if dropReasons[drop] != want {
			t.Errorf("drop %d is shown as %s, want %s", drop, dropReasons[drop], want)
		}
	}
}

// compareConstants compares the numbers of headers with those of Go; none of them may be left out.
func compareConstants(t *testing.T, header, here map[string]int) {
	t.Helper()
	for name, want := range here {
		got, known := header[name]
		if !known {
			t.Errorf("%s is in no header any more", name)
		} else if got != want {
			t.Errorf("%s is %d in C, %d in Go", name, got, want)
		}
	}
	for name := range header {
		if _, known := here[name]; !known {
			t.Errorf("%s is compared with nothing", name)
		}
	}
}

var (
	comment  = regexp.MustCompile(`(?s)/\*.*?\*/`)
	enum     = regexp.MustCompile(`(?s)enum \{(.*?)\}`)
	constant = regexp.MustCompile(`#define (\w+) (\d+)\s*\n`)
)

// constantsOf reads the numbers of enums and of #define.
func constantsOf(t *testing.T, files ...string) map[string]int {
	t.Helper()
	list := make(map[string]int)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text := comment.ReplaceAllString(string(raw), "")
		for _, m := range constant.FindAllStringSubmatch(text, -1) {
			if list[m[1]], err = strconv.Atoi(m[2]); err != nil {
				t.Fatal(err)
			}
		}
		for _, m := range enum.FindAllStringSubmatch(text, -1) {
			next := 0
			for entry := range strings.SplitSeq(m[1], ",") {
				name, value, given := strings.Cut(strings.TrimSpace(entry), "=")
				if name == "" {
					continue
				}
				if given {
					next = 0
					for term := range strings.SplitSeq(value, "+") {
						next += numberOf(t, list, strings.TrimSpace(term))
					}
				}
				list[strings.TrimSpace(name)] = next
				next++
			}
		}
	}
	return list
}

// numberOf is a number, or one that was named before.
func numberOf(t *testing.T, known map[string]int, text string) int {
	t.Helper()
	if n, named := known[text]; named {
		return n
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
