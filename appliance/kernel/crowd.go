package kernel

import (
	"fmt"
	"net/netip"

	"github.com/cilium/ebpf"

	"breakwater/appliance/plan"
)

// crowdOf is what the user path's sessions of a service are counted by here.
type crowdOf struct {
	number        uint32
	newPerAddress uint32 // a second
}

// buildCrowds finds the services of p that bound single sources.
func (k *Path) buildCrowds(p *plan.Plan, t *tables) {
	t.crowds = make(map[string]crowdOf)
	for i := range p.Services {
		s, e := &p.Services[i], &t.services[i]
		if e.MaxPerAddress|e.MaxPerNetwork|e.NewPerAddress != 0 {
			t.crowds[s.Name] = crowdOf{e.Number, e.NewPerAddress}
		}
	}
}

// ShareSource tells the program that the user path has n more sessions of a client of a service, as limits of single sources
// are for both together.
func (k *Path) ShareSource(service string, client netip.Addr, n int) {
	crowds := k.crowds.Load()
	if crowds == nil {
		return
	}
	of, known := (*crowds)[service]
	if !known {
		return
	}
	c := bpfCrowding{Address: client.As16(), Service: of.number, N: int32(n), NewPerAddress: of.newPerAddress} //nolint:gosec // 1 or -1
	if _, err := k.objects.Crowd.Run(&ebpf.RunOptions{Context: &c}); err != nil {
		k.options.Log.Error("kernel path", "err", fmt.Errorf("count the sessions of a source: %w", err))
	}
}

// forgetOthers forgets the sessions of the user path of the last process, which ended with it.
func (k *Path) forgetOthers() error {
	var key bpfSource
	var held bpfHolder
	var gone []bpfSource
	all := k.objects.Holders.Iterate()
	for all.Next(&key, &held) {
		if held.Others != 0 {
			gone = append(gone, key)
		}
	}
	if err := all.Err(); err != nil {
		return fmt.Errorf("read the sessions of single sources: %w", err)
	}
	for i := range gone {
		if err := k.forgetOther(&gone[i]); err != nil {
			return err
		}
	}
	return nil
}

func (k *Path) forgetOther(key *bpfSource) error {
	var held bpfHolder
	if err := k.objects.Holders.Lookup(key, &held); err != nil {
		return fmt.Errorf("read the sessions of a source: %w", err)
	}
	held.Others = 0
	var err error
	if held.Sessions == 0 {
		err = k.objects.Holders.Delete(key)
	} else {
		err = k.objects.Holders.Put(key, held)
	}
	if err != nil {
		return fmt.Errorf("forget the sessions of a source: %w", err)
	}
	return nil
}
