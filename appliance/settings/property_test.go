package settings

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"
	"testing/quick"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// randomSettings fills every field of the types with a value that can be written, valid or not.
func randomSettings(r *rand.Rand) Settings {
	var s Settings
	fill(r, reflect.ValueOf(&s).Elem())
	return s
}

func fill(r *rand.Rand, v reflect.Value) {
	if r.IntN(4) == 0 {
		return // left out
	}
	switch v.Interface().(type) {
	case Prefix:
		v.Set(reflect.ValueOf(randomPrefix(r)))
		return
	case Address:
		p := randomPrefix(r)
		v.Set(reflect.ValueOf(Address{netip.PrefixFrom(p.Addr().Next(), p.Bits())}))
		return
	case Addr:
		v.Set(reflect.ValueOf(Addr{randomPrefix(r).Addr()}))
		return
	case MAC:
		v.Set(reflect.ValueOf(MAC{2, 0, 0, 0, byte(r.Uint32()), byte(r.Uint32())}))
		return
	case Server:
		addr := randomPrefix(r).Addr()
		v.Set(reflect.ValueOf(Server(netip.AddrPortFrom(addr, uint16(53+r.IntN(2))))))
		return
	case Ports:
		a, b := 1+r.IntN(65535), 1+r.IntN(65535)
		v.Set(reflect.ValueOf(Ports{uint16(min(a, b)), uint16(max(a, b))}))
		return
	case Duration:
		v.SetInt(r.Int64N(int64(100*time.Hour)) - int64(time.Hour))
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for _, field := range v.Fields() {
			fill(r, field)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(4), 4))
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString([]string{"", "tcp", "games", "none", "kernel", "<é\u2028\"&", fmt.Sprint(r.Uint32())}[r.IntN(7)])
	case reflect.Int:
		v.SetInt(int64(r.IntN(2000) - 1000))
	case reflect.Bool:
		v.SetBool(true)
	}
}

func randomPrefix(r *rand.Rand) Prefix {
	a := [16]byte{0x20, 0x01, 0x0d, 0xb8}
	for i := 4; i < 16; i++ {
		a[i] = byte(r.Uint32())
	}
	addr := netip.AddrFrom16(a)
	if r.IntN(2) == 0 {
		addr = netip.AddrFrom4([4]byte(a[12:]))
	}
	return Prefix{netip.PrefixFrom(addr, 1+r.IntN(addr.BitLen())).Masked()}
}

// holds checks a property of settings for many seeds.
func holds(t *testing.T, property func(r *rand.Rand) error) {
	t.Helper()
	run := func(seed uint64) bool {
		err := property(rand.New(rand.NewPCG(seed, 0)))
		if err != nil {
			t.Errorf("seed %d: %v", seed, err)
		}
		return err == nil
	}
	if err := quick.Check(run, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
}

// writable tells whether the document can be read back: a list may hold the zero value of a text, which cannot.
func writable(s Settings) bool {
	_, problems := Decode(Encode(s))
	return len(problems) == 0
}

func TestEncodeDecodeIsStable(t *testing.T) {
	checked := 0
	holds(t, func(r *rand.Rand) error {
		s := randomSettings(r)
		s.Schema = Schema
		if !writable(s) {
			return nil
		}
		checked++
		encoded := Encode(s)
		again, _ := Decode(encoded)
		if diff := cmp.Diff(s, again, cmpopts.EquateEmpty(), plainValues); diff != "" {
			return fmt.Errorf("decoded (-want +got):\n%s", diff)
		}
		if twice := Encode(again); !bytes.Equal(twice, encoded) {
			return fmt.Errorf("encoded again:\n%s\nfirst:\n%s", twice, encoded)
		}
		return nil
	})
	if checked < 50 {
		t.Errorf("only %d documents could be written", checked)
	}
}

// There is a change exactly when the documents differ in a byte.
func TestDiffSeesEveryChange(t *testing.T) {
	differing := 0
	holds(t, func(r *rand.Rand) error {
		old := randomSettings(r)
		for i := range old.Services {
			old.Services[i].Name = fmt.Sprint("service-", i)
		}
		new := old.normal()
		if len(new.Services) > 0 {
			service := &new.Services[r.IntN(len(new.Services))]
			name := service.Name
			fill(r, reflect.ValueOf(service).Elem().Field(r.IntN(reflect.TypeFor[Service]().NumField())))
			service.Name = name
		}
		same := bytes.Equal(Encode(old), Encode(new))
		if !same {
			differing++
		}
		if changes := Diff(old, new); same != (len(changes) == 0) {
			return fmt.Errorf("equal is %t, but the changes are %v", same, changes)
		}
		return nil
	})
	if differing < 50 {
		t.Errorf("only %d documents differed", differing)
	}
}

// Whatever a document holds, judging it and spelling out its defaults does not panic.
func TestValidateTakesAnything(t *testing.T) {
	holds(t, func(r *rand.Rand) error {
		s := randomSettings(r)
		if len(s.Validate()) == 0 && len(s.WithDefaults().Validate()) > 0 {
			return fmt.Errorf("valid, but not with its defaults: %v", s.WithDefaults().Validate())
		}
		return nil
	})
}
