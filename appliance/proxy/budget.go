package proxy

import "breakwater/appliance/status"

// provenRounds is how often a client must have spoken after an answer until it counts as real. A spoofer does not
// see answers; one that sends blindly for long enough is still taken for real, which rate limits have to bound.
const provenRounds = 2

// heard notes a datagram of the client, for the proof that it is real and for the budget until then.
func (w *worker) heard(f *flow, size int) {
	if f.rounds >= provenRounds {
		return
	}
	f.wireIn += wireBytes(size, f.client.Addr().Is4())
	if f.answered {
		f.answered = false
		if f.rounds++; f.rounds == provenRounds {
			w.shareFlow(f, status.FlowProven)
		}
	}
}

// mayAnswer spends the budget towards a client that may be spoofed.
func (f *flow) mayAnswer(size int) bool {
	limit := f.service.Limits.MaxAmplification
	if limit <= 0 || f.rounds >= provenRounds {
		return true
	}
	bytes := wireBytes(size, f.client.Addr().Is4())
	if f.wireOut+bytes > uint64(limit)*f.wireIn {
		return false
	}
	f.wireOut += bytes
	return true
}

// wireBytes is what a datagram of size bytes takes of an Ethernet: preamble, header, checksum and gap (38 bytes) and IP
// header for each frame, at least 84 bytes a frame (IEEE 802.3). Attackers pay and victims suffer in these, so the
// budget counts them and not the payload.
func wireBytes(size int, v4 bool) uint64 {
	const overhead, smallest, mtu, udp = 38, 84, 1500, 8
	ip := 40
	if v4 {
		ip = 20
	}
	frames := (size + udp + mtu - ip - 1) / (mtu - ip)
	return uint64(max(size+udp+frames*(ip+overhead), smallest)) //nolint:gosec // not negative
}
