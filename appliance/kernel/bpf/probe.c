// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* For tests: tells what read_frame makes of a frame. No part of the product. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "frame.h"

char _license[] SEC("license") = "GPL";

struct reading {
	struct frame frame;
	__u32 kind;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct reading);
} readings SEC(".maps");

SEC("xdp.frags")
int probe(struct xdp_md *ctx)
{
	struct frame f = {};
	__u32 zero = 0;
	struct reading *r = bpf_map_lookup_elem(&readings, &zero);

	if (!r)
		return XDP_ABORTED;
	r->kind = read_frame(ctx, &f);
	r->frame = f;
	return XDP_PASS;
}
