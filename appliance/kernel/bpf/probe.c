// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* For tests: tells what read_frame makes of a frame, and which SYN cookie the kernel gives a SYN. No part of the product. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "frame.h"

char _license[] SEC("license") = "GPL";

struct reading {
	struct frame frame;
	__u32 kind;
	__u32 cookie;
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

/* cookie is for SYNs without options and without extension headers. */
SEC("xdp")
int cookie(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end, *ip = data + ETH_HLEN;
	__u32 zero = 0;
	struct reading *r = bpf_map_lookup_elem(&readings, &zero);

	if (!r || ip + sizeof(struct ipv6hdr) + sizeof(struct tcphdr) > end)
		return XDP_ABORTED;
	if (*(__u8 *)ip >> 4 == 4)
		r->cookie = bpf_tcp_raw_gen_syncookie_ipv4(ip, ip + sizeof(struct iphdr), sizeof(struct tcphdr));
	else
		r->cookie = bpf_tcp_raw_gen_syncookie_ipv6(ip, ip + sizeof(struct ipv6hdr), sizeof(struct tcphdr));
	return XDP_PASS;
}
