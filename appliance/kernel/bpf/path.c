// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* The kernel path: a program at the ingress of every edge interface and every interface that leads to an origin. It carries
 * the packets of sessions and flows that it began, and leaves everything else as it is. In front of it, at edge interfaces,
 * is the shield. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "layout.h"
#include "icmp.h"
#include "shield.h"

char _license[] SEC("license") = "GPL";

/* in_vlan tells whether a packet is in a VLAN of this interface. It comes again at the interface of that VLAN, as the stack has only taken
 * its tag off: from here an answer would leave without it, and what is carried with it. A tag of VLAN 0 has a priority and names no VLAN
 * (802.1Q, 9.6), so it goes. */
static __always_inline bool in_vlan(struct __sk_buff *skb)
{
	for (int i = 0; i < MAX_TAGS && skb->vlan_present; i++)
		if (skb->vlan_tci & 0xfff || bpf_skb_vlan_pop(skb))
			return true;
	return skb->vlan_present;
}

SEC("tc")
int path(struct __sk_buff *skb)
{
	bool cookie = marked(skb); /* before anything moves the packet */
	struct packet p = {};

	if (in_vlan(skb))
		return leave(LEFT_OTHER);
	switch (parse(skb, &p)) {
	case PARSED:
		break;
	case FRAGMENT:
		return fragment(skb, &p);
	case MALFORMED:
		return refuse(skb, &p, DROP_MALFORMED);
	case EXTENSION:
		return leave(LEFT_EXTENSION);
	case CONTROL:
		return icmp(skb, &p);
	default:
		return leave(LEFT_OTHER);
	}
	if (p.tuple.protocol == IPPROTO_TCP && cookie)
		return let_in(skb, &p);
	if (p.tuple.protocol == IPPROTO_TCP)
		return tcp(skb, &p);
	return udp(skb, &p);
}

/* end is called by the daemon: it ends a session, or gives back one that was ended. */
SEC("syscall")
int end(struct ending *e)
{
	__u32 slot = e->slot;
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);

	e->done = 0;
	if (!s || s->generation != e->generation)
		return 0;
	if (e->flags)
		__sync_fetch_and_or(&s->flags, e->flags);
	if (e->forget) {
		e->done = s->state == STATE_CLOSED;
		forget(slot);
		return 0;
	}
	e->done = close(slot, e->reason);
	return 0;
}

/* crowd is called by the daemon: the user path has more sessions of a source, or less. */
SEC("syscall")
int crowd(struct crowding *c)
{
	__u8 address[16] __attribute__((aligned(8)));

	copy_address(address, c->address);
	hold(address, c->service, c->n, true);
	if (c->n > 0)
		pay(address, c->service, c->new_per_address);
	return 0;
}

/* class_lookup is for tests and the benchmark: its packet is a question, and the answer. It is attached to nothing. */
SEC("xdp")
int class_lookup(struct xdp_md *ctx)
{
	struct list_query *packet = (void *)(long)ctx->data, q;
	__u64 began;

	if ((void *)(packet + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	q = *packet; /* a callback cannot have the packet */
	if (!q.repeat) {
		packet->found = list_class(q.address, q.v4);
		return XDP_PASS;
	}
	began = bpf_ktime_get_ns();
	bpf_loop(q.repeat, list_ask, &q, 0);
	packet->took = bpf_ktime_get_ns() - began;
	packet->found = q.found;
	return XDP_PASS;
}

/* For package kernel, whose types are made from these. */
const struct session *unused_session __attribute__((unused));
const struct event *unused_event __attribute__((unused));
const struct ref *unused_ref __attribute__((unused));
const struct tuple *unused_tuple __attribute__((unused));
const struct address_key *unused_address_key __attribute__((unused));
const struct route *unused_route __attribute__((unused));
const struct service *unused_service __attribute__((unused));
const struct pool *unused_pool __attribute__((unused));
const struct member *unused_member __attribute__((unused));
const struct ending *unused_ending __attribute__((unused));
const struct guard *unused_guard __attribute__((unused));
const struct packet_rule *unused_packet_rule __attribute__((unused));
const struct sample *unused_sample __attribute__((unused));
const struct cover *unused_cover __attribute__((unused));
const struct next_hops *unused_next_hops __attribute__((unused));
const struct bloom_state *unused_bloom_state __attribute__((unused));
const struct filling *unused_filling __attribute__((unused));
const struct cookie_state *unused_cookie_state __attribute__((unused));
const struct admission *unused_admission __attribute__((unused));
const struct vector_key *unused_vector_key __attribute__((unused));
const struct source_limits *unused_source_limits __attribute__((unused));
const struct source_key *unused_source_key __attribute__((unused));
const struct bucket *unused_bucket __attribute__((unused));
const struct known *unused_known __attribute__((unused));
const struct commons *unused_commons __attribute__((unused));
const struct rate *unused_rate __attribute__((unused));
const struct source *unused_source __attribute__((unused));
const struct holder *unused_holder __attribute__((unused));
const struct crowding *unused_crowding __attribute__((unused));
const struct list_line *unused_list_line __attribute__((unused));
const struct list_head *unused_list_head __attribute__((unused));
const struct list_state *unused_list_state __attribute__((unused));
const struct list_verdict *unused_list_verdict __attribute__((unused));
const struct list_query *unused_list_query __attribute__((unused));
