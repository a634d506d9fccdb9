package kernel

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
)

// forgetServices removes what is counted and measured of services that are gone.
func (k *Path) forgetServices() error {
	known := make(map[uint32]bool, len(k.tables.services)+1)
	known[noService] = true
	for i := range k.tables.services {
		known[k.tables.services[i].Number] = true
	}
	var gone []bpfVectorKey
	var key bpfVectorKey
	var counts []bpfVectorCount
	vectors := k.objects.Vectors.Iterate()
	for vectors.Next(&key, &counts) {
		if !known[key.Service] {
			gone = append(gone, key)
		}
	}
	var numbers []uint32
	var number uint32
	var p bpfPressure
	pressures := k.objects.Pressures.Iterate()
	for pressures.Next(&number, &p) {
		if !known[number] {
			numbers = append(numbers, number)
		}
	}
	failed := []error{unlessAborted(vectors.Err()), unlessAborted(pressures.Err())}
	for _, key := range gone {
		failed = append(failed, k.objects.Vectors.Delete(key))
	}
	for _, number := range numbers {
		failed = append(failed, k.objects.Pressures.Delete(number))
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("forget the counts of services that are gone: %w", err)
	}
	return nil
}

// unlessAborted is an error of an iteration, but for entries that came and went meanwhile.
func unlessAborted(err error) error {
	if errors.Is(err, ebpf.ErrIterationAborted) {
		return nil
	}
	return err
}
