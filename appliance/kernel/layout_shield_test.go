package kernel

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf/btf"

	"breakwater/appliance/plan"
	"breakwater/appliance/status"
)

// vectors of bpf/guard.h, in its order.
const (
	vectorSYN = iota
	vectorACK
	vectorRST
	vectorFIN
	vectorFlags
	vectorUDP
	vectorReflection
	vectorQuery
	vectorFragment
	vectorICMP
	vectorOther
	vectorCount
)

// countTCP and so on are the protocols that drops are counted by.
const (
	countTCP = iota
	countUDP
	countICMP
	countOther
	countProtocols
)

const trickleFragments, trickleAddresses, trickleSamples, trickleCount = 2, 5, 7, 7 + vectorCount

// TestShieldLayout: the structs of the shield are the same in C and in Go, and its maps are as large as they have to be.
func TestShieldLayout(t *testing.T) {
	spec, err := loadBpf()
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{
		"guard": bpfGuard{}, "packet_rule": bpfPacketRule{}, "sample": bpfSample{}, "vector_key": bpfVectorKey{}, "vector_count": bpfVectorCount{},
		"shield_configuration": bpfShieldConfiguration{}, "gauge": bpfGauge{}, "pressure": bpfPressure{},
	} {
		var c *btf.Struct
		if err := spec.Types.TypeByName(name, &c); err != nil {
			t.Errorf("find struct %s: %v", name, err)
			continue
		}
		compareStruct(t, name, c, reflect.TypeOf(v))
	}
	for name, want := range map[string]uintptr{
		"shield_config": unsafe.Sizeof(bpfShieldConfiguration{}), "shield_drops": 8, "vectors": unsafe.Sizeof(bpfVectorCount{}),
		"pressures": unsafe.Sizeof(bpfPressure{}), "trickles": unsafe.Sizeof(bpfGauge{}), "rule_hits": 8,
	} {
		if got := spec.Maps[name].ValueSize; uintptr(got) != want {
			t.Errorf("the values of map %s have %d bytes, want %d", name, got, want)
		}
	}
	for name, want := range map[string]uint32{"shield_drops": 2 * countProtocols * whyCount, "trickles": trickleCount} {
		if got := spec.Maps[name].MaxEntries; got != want {
			t.Errorf("map %s has %d entries, want %d", name, got, want)
		}
	}
}

// TestShieldConstants: a number of bpf/guard.h is the same in Go.
func TestShieldConstants(t *testing.T) {
	compareConstants(t, constantsOf(t, "bpf/guard.h"), map[string]int{
		"VECTOR_SYN": vectorSYN, "VECTOR_ACK": vectorACK, "VECTOR_RST": vectorRST, "VECTOR_FIN": vectorFIN, "VECTOR_FLAGS": vectorFlags,
		"VECTOR_UDP": vectorUDP, "VECTOR_REFLECTION": vectorReflection, "VECTOR_QUERY": vectorQuery, "VECTOR_FRAGMENT": vectorFragment,
		"VECTOR_ICMP": vectorICMP, "VECTOR_OTHER": vectorOther, "VECTOR_COUNT": vectorCount,
		"WHY_NO_SERVICE": int(status.NoService), "WHY_BANNED": int(status.Banned), "WHY_RATE": int(status.RateLimit),
		"WHY_FRAGMENT": int(status.Fragment), "WHY_MALFORMED": int(status.Malformed), "WHY_FLAGS": int(status.BogusFlags),
		"WHY_BOGON": int(status.Bogon), "WHY_REFLECTION": int(status.Reflection), "WHY_RULE": int(status.PacketRule),
		"WHY_NO_SESSION": int(status.NoSession), "WHY_COOKIE": int(status.BadCookie), "WHY_PROTOCOL": int(status.OtherProtocol),
		"WHY_ADDRESS_RATE": int(status.AddressRate), "WHY_NETWORK_RATE": int(status.NetworkRate), "WHY_NEW_CLIENTS": int(status.NewClients), "WHY_COUNT": whyCount,
		"SHIELD_OFF": shieldOff, "SHIELD_ON": shieldOn, "SHIELD_MONITOR": shieldMonitor,
		"FRAGMENTS_LIMIT": fragmentsLimit, "FRAGMENTS_PASS": fragmentsPass, "FRAGMENTS_DROP": fragmentsDrop,
		"GUARD_REFLECTORS": guardReflectors,
		"RULE_DROP":        ruleDrop, "RULE_PASS": rulePass, "RULE_COUNT": ruleCount, "RULE_BYTES": ruleBytes, "MAX_RULES": maxRules,
		"COUNT_TCP": countTCP, "COUNT_UDP": countUDP, "COUNT_ICMP": countICMP, "COUNT_OTHER": countOther, "COUNT_PROTOCOLS": countProtocols,
		"NO_SERVICE": noService, "SYN_ALWAYS": synAlways, "SAMPLE_BYTES": len(bpfSample{}.Bytes), "TRICKLE_FRAGMENTS": trickleFragments, "TRICKLE_COUNT": trickleCount,
		// Those of the program alone.
		"RULE_NUMBERS": maxRuleNumbers, "TRICKLE_BANNED": 0, "TRICKLE_NO_SERVICE": 1, "TRICKLE_ECHO": 3, "TRICKLE_ERRORS": 4, "TRICKLE_ADDRESSES": trickleAddresses, "TRICKLE_NETWORKS": 6, "TRICKLE_SAMPLES": trickleSamples,
	})
	if whyCount < int(status.ReasonCount) {
		t.Errorf("there are counts for %d reasons of %d", whyCount, status.ReasonCount)
	}
	wantVectors := map[int]status.Vector{
		vectorSYN: status.VectorSYN, vectorACK: status.VectorACK, vectorRST: status.VectorRST, vectorFIN: status.VectorFIN,
		vectorFlags: status.VectorFlags, vectorUDP: status.VectorUDP, vectorReflection: status.VectorReflection, vectorQuery: status.VectorQuery,
		vectorFragment: status.VectorFragment, vectorICMP: status.VectorICMP, vectorOther: status.VectorOther,
	}
	if len(vectorNames) != vectorCount {
		t.Fatalf("%d vectors have names, want %d", len(vectorNames), vectorCount)
	}
	for vector, want := range wantVectors {
		if got := vectorNames[vector]; got != want {
			t.Errorf("vector %d is shown as %s, want %s", vector, got, want)
		}
	}
	if want := [...]plan.Protocol{countTCP: plan.TCP, countUDP: plan.UDP, countICMP: "icmp", countOther: "other"}; shieldProtocols != want {
		t.Errorf("drops are shown by %v, want %v", shieldProtocols, want)
	}
}
