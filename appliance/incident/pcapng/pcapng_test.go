package pcapng

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/appliance/status"
)

// packets are one of each verdict, on two interfaces.
func packets() []status.Sample {
	at := time.Unix(1_800_000_000, 123_456_789)
	frame := append(make([]byte, 12), 8, 0, 0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1, 198, 18, 1, 10, 0, 123, 0x69, 0x87, 0, 8, 0, 0)
	return []status.Sample{
		{Time: at, Interface: "wan0", Service: "game", Vector: status.VectorUDP, Verdict: status.SampleDrop, Reason: status.AddressRate, Length: 1514, Bytes: frame},
		{Time: at.Add(time.Second), Interface: "wan1", Vector: status.VectorReflection, Verdict: status.SampleWould, Reason: status.Reflection, Length: len(frame), Bytes: frame},
		{Time: at.Add(2 * time.Second), Interface: "wan0", Service: "game", Vector: status.VectorUDP, Verdict: status.SamplePass, Length: 60, Bytes: frame[:41]}, // to be filled up
	}
}

// blocks takes a file apart: the types of its blocks.
func blocks(t *testing.T, data []byte) (kinds []uint32) {
	for len(data) > 0 {
		if len(data) < 12 {
			t.Fatalf("%d bytes are left", len(data))
		}
		length := order.Uint32(data[4:])
		if length%4 != 0 || int(length) > len(data) || order.Uint32(data[length-4:]) != length {
			t.Fatalf("a block of type %#x has length %d", order.Uint32(data), length)
		}
		kinds = append(kinds, order.Uint32(data))
		data = data[length:]
	}
	return kinds
}

func TestBlocks(t *testing.T) {
	var file bytes.Buffer
	if err := Write(&file, "Breakwater test", packets()); err != nil {
		t.Fatal(err)
	}
	if got, want := blocks(t, file.Bytes()), []uint32{blockSection, blockInterface, blockInterface, blockPacket, blockPacket, blockPacket}; !slices.Equal(got, want) {
		t.Errorf("got blocks %#x, want %#x", got, want)
	}
	for _, text := range []string{"Breakwater test", "wan0", "wan1", "drop, address-rate, service game, vector udp", "would, reflection, service none, vector reflection"} {
		if !strings.Contains(file.String(), text) {
			t.Errorf("there is no %q", text)
		}
	}
}

func TestNoPacketsAreAFileToo(t *testing.T) {
	var file bytes.Buffer
	if err := Write(&file, "", nil); err != nil || !slices.Equal(blocks(t, file.Bytes()), []uint32{blockSection}) {
		t.Errorf("error %v, %x", err, file.Bytes())
	}
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errors.New("gone") }

func TestAReaderThatIsGone(t *testing.T) {
	if err := Write(broken{}, "", packets()); err == nil {
		t.Error("nobody is told")
	}
}
