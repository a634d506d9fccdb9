/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* UDP from client to origin and back, with PROXY v2 or SPP in front of the payload. */
#ifndef UDP_H
#define UDP_H

#include "tcp.h"

/* A payload is moved in pieces of this size. */
#define PIECE 128

/* A datagram up to here fits everywhere (IPv6's least MTU), with the longest header. */
#define SMALL 1200

/* How often a client must have spoken after an answer until it counts as real. */
#define PROVEN 2

struct move {
	struct __sk_buff *skb;
	__u32 from;
	__u32 to;
	__u32 size;
	__u32 failed;
};

/* move_up moves one piece, the last first: what it is moved onto was moved already. */
static long move_up(__u32 i, struct move *m)
{
	__u8 piece[PIECE];
	__u32 behind = i * PIECE, n, at;

	if (behind >= m->size)
		return 1;
	n = bounded(m->size - behind < PIECE ? m->size - behind : PIECE, PIECE);
	at = m->size - behind - n;
	if (!n || bpf_skb_load_bytes(m->skb, m->from + at, piece, n) || bpf_skb_store_bytes(m->skb, m->to + at, piece, n, 0)) {
		m->failed = 1;
		return 1;
	}
	return 0;
}

/* move_down moves one piece, the first first. */
static long move_down(__u32 i, struct move *m)
{
	__u8 piece[PIECE];
	__u32 at = i * PIECE, n;

	if (at >= m->size)
		return 1;
	n = bounded(m->size - at < PIECE ? m->size - at : PIECE, PIECE);
	if (!n || bpf_skb_load_bytes(m->skb, m->from + at, piece, n) || bpf_skb_store_bytes(m->skb, m->to + at, piece, n, 0)) {
		m->failed = 1;
		return 1;
	}
	return 0;
}

/* wire_bytes is what a datagram takes of an Ethernet, as appliance/proxy counts it. */
static __always_inline __u32 wire_bytes(__u32 size, bool v4)
{
	__u32 ip = v4 ? 20 : 40;
	__u32 frames = (size + 8 + 1500 - ip - 1) / (1500 - ip);
	__u32 bytes = size + 8 + frames * (ip + 38);

	return bytes < 84 ? 84 : bytes;
}

/* write_udp gives the datagram the addresses and ports of the other side. payload is what was changed of it, size its length
 * now. */
static __always_inline int write_udp(struct __sk_buff *skb, struct packet *p, struct session *s, __u32 from, __u32 size, __u32 payload)
{
	struct side *to = &s->side[(from ^ 1) & 1];
	__u32 addresses = from == CLIENT ? s->addresses : ~s->addresses;
	__u32 ports = from == CLIENT ? s->ports : ~s->ports;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 l4 = p->v4 ? ETH_HLEN + sizeof(struct iphdr) : ETH_HLEN + sizeof(struct ipv6hdr) + (p->first ? 8 : 0);
	struct udphdr *udp = data + l4;
	__be16 length = bpf_htons(size + sizeof(*udp));
	__u32 change;

	if ((void *)(udp + 1) > end)
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	change = sum_change(udp->len, length);
	udp->source = to->own_port;
	udp->dest = to->port;
	udp->len = length;
	if (!rewrite_ip(data, end, p, to->own, to->address, addresses))
		return drop(IPPROTO_UDP, DROP_TTL);
	bpf_l4_csum_replace(skb, p->l4 + UDP_CHECK, 0, sum_add(sum_add(ports, change), payload), BPF_F_MARK_MANGLED_0);
	bpf_l4_csum_replace(skb, p->l4 + UDP_CHECK, 0, sum_add(addresses, change), BPF_F_MARK_MANGLED_0 | BPF_F_PSEUDO_HDR);
	return NEXT;
}

/* insert puts the header in front of the payload: the datagram grows at its tail, as its headers must not move. */
__noinline int insert(struct __sk_buff *skb, struct packet *p, __u32 slot, __u32 *sum)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct move m = {.skb = skb, .from = 0};
	struct text *t;
	__u32 size;

	if (!p || !s || !sum)
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	t = make_header(s);
	if (!t || skb->gso_segs > 1)
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	size = bounded(t->size, HEADER_ROOM - 4);
	if (!size || bpf_skb_change_tail(skb, p->payload + p->size + size, 0))
		return drop(IPPROTO_UDP, DROP_HEADER);
	m.from = p->payload;
	m.to = p->payload + size;
	m.size = p->size;
	bpf_loop((p->size + PIECE - 1) / PIECE, move_up, &m, 0);
	if (m.failed || bpf_skb_store_bytes(skb, p->payload, t->bytes, size, 0))
		return drop(IPPROTO_UDP, DROP_HEADER);
	if (!set_ip_size(skb, p->v4, p->payload + p->size + size - ETH_HLEN))
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	*sum = header_sum(t);
	return NEXT;
}

/* strip takes an SPP header away; it has to be the one of this flow. */
__noinline int strip(struct __sk_buff *skb, struct packet *p, __u32 slot, __u32 *sum)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct move m = {.skb = skb};
	struct text *t;
	__u8 got[SPP_SIZE + 2] = {};

	if (!p || !s || !sum)
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	t = make_header(s);
	if (!t || skb->gso_segs > 1)
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	if (p->size < SPP_SIZE || bpf_skb_load_bytes(skb, p->payload, got, SPP_SIZE))
		return drop(IPPROTO_UDP, DROP_SPP);
	for (int i = 0; i < SPP_SIZE; i++)
		if (got[i] != t->bytes[i])
			return drop(IPPROTO_UDP, DROP_SPP);
	p->size -= SPP_SIZE;
	m.from = p->payload + SPP_SIZE;
	m.to = p->payload;
	m.size = p->size;
	bpf_loop((p->size + PIECE - 1) / PIECE, move_down, &m, 0);
	if (m.failed || bpf_skb_change_tail(skb, p->payload + p->size, 0))
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	if (!set_ip_size(skb, p->v4, p->payload + p->size - ETH_HLEN))
		return drop(IPPROTO_UDP, DROP_INTERNAL);
	*sum = ~header_sum(t);
	return NEXT;
}

/* fits tells whether the datagram can leave by the interface. */
static __always_inline bool fits(const struct session *s, __u32 from, __u32 size)
{
	__u32 ifindex = s->side[(from ^ 1) & 1].ifindex;
	struct interface *i;

	if (size <= SMALL)
		return true;
	i = bpf_map_lookup_elem(&interfaces, &ifindex);
	return !i || !i->mtu || size <= i->mtu;
}

__noinline int datagram_from_client(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 sum = 0, size, before;
	int verdict = NEXT;
	bool headed;

	if (!p || !s)
		return DROP;
	size = before = p->size;
	headed = s->header_length && !(s->flags & SESSION_FIRST_ONLY && s->flags & SESSION_HEADED);
	if (headed)
		size += s->header_length;
	if (skb->gso_segs <= 1 && !p->first && !fits(s, CLIENT, p->payload - ETH_HLEN + size))
		return drop(IPPROTO_UDP, DROP_OVERSIZE);
	if (s->rounds < PROVEN) {
		/* Of a fragment, not what the whole datagram would have: the rest may never come. */
		__sync_fetch_and_add(&s->wire_in, wire_bytes(p->first && skb->len - p->payload < before ? skb->len - p->payload : before, p->v4));
		if (s->flags & SESSION_ANSWERED) {
			__sync_fetch_and_and(&s->flags, ~SESSION_ANSWERED);
			s->rounds++;
		}
	}
	if (headed)
		verdict = insert(skb, p, slot, &sum);
	if (verdict == NEXT)
		verdict = write_udp(skb, p, s, CLIENT, size, sum);
	if (verdict != NEXT)
		return verdict;
	if (headed && !(s->flags & SESSION_HEADED))
		__sync_fetch_and_or(&s->flags, SESSION_HEADED);
	s->active = bpf_ktime_get_coarse_ns();
	__sync_fetch_and_add(&s->side[CLIENT].bytes, before);
	__sync_fetch_and_add(&s->side[CLIENT].packets, 1);
	return send_out(slot, ORIGIN);
}

__noinline int datagram_from_origin(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 sum = 0;
	int verdict = NEXT;

	if (!p || !s)
		return DROP;
	if (s->header == HEADER_SPP)
		verdict = strip(skb, p, slot, &sum);
	if (verdict != NEXT)
		return verdict;
	if (skb->gso_segs <= 1 && !p->first && !fits(s, ORIGIN, p->payload - ETH_HLEN + p->size))
		return drop(IPPROTO_UDP, DROP_OVERSIZE);
	if (s->amplification && s->rounds < PROVEN) {
		__u32 bytes = wire_bytes(p->size, p->v4);

		if (s->wire_out + bytes > (__u64)s->amplification * s->wire_in)
			return drop(IPPROTO_UDP, DROP_AMPLIFICATION);
		__sync_fetch_and_add(&s->wire_out, bytes);
	}
	if (!(s->flags & SESSION_ANSWERED))
		__sync_fetch_and_or(&s->flags, SESSION_ANSWERED);
	if (s->state == STATE_SYN && __sync_val_compare_and_swap(&s->state, STATE_SYN, STATE_OPEN) == STATE_SYN)
		tell(EVENT_ANSWERED, slot);
	verdict = write_udp(skb, p, s, ORIGIN, p->size, sum);
	if (verdict != NEXT)
		return verdict;
	s->active = bpf_ktime_get_coarse_ns();
	__sync_fetch_and_add(&s->side[ORIGIN].bytes, p->size);
	__sync_fetch_and_add(&s->side[ORIGIN].packets, 1);
	return send_out(slot, CLIENT);
}

__noinline int new_udp(struct __sk_buff *skb, struct packet *p)
{
	struct begun b = {};

	if (!p)
		return DROP;
	if (elder(&p->tuple))
		return leave(LEFT_OTHER);
	if (forged(skb, p))
		return drop(IPPROTO_UDP, DROP_BOGON);
	if (!begin(skb, p, &b))
		return leave(b.why);
	return datagram_from_client(skb, p, b.slot);
}

/* The datagrams whose fragments are under way. */
struct fragment_key {
	__u8 src[16];
	__u8 dst[16];
	__u32 id;
	__u32 zero;
} __attribute__((aligned(8)));

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct fragment_key);
	__type(value, struct ref);
} fragments SEC(".maps");

static __always_inline void fragment_key(struct fragment_key *k, const struct packet *p)
{
	copy_address(k->src, p->tuple.src);
	copy_address(k->dst, p->tuple.dst);
	k->id = p->id;
	k->zero = p->tuple.protocol;
}

/* remember enters a first fragment that was carried. */
__noinline int remember(struct packet *p)
{
	struct fragment_key key;
	struct ref *r, mine;

	if (!p)
		return 0;
	r = bpf_map_lookup_elem(&tuples, &p->tuple);
	if (!r)
		return 0;
	mine = *r;
	fragment_key(&key, p);
	return bpf_map_update_elem(&fragments, &key, &mine, BPF_ANY);
}

/* later takes a fragment without ports after the first one: only its addresses change. */
__noinline int later(struct __sk_buff *skb, struct packet *p)
{
	struct fragment_key key;
	struct session *s;
	struct side *to;
	struct ref *r;

	if (!p)
		return DROP;
	fragment_key(&key, p);
	r = bpf_map_lookup_elem(&fragments, &key);
	s = r ? slot_of(r) : 0;
	if (!s)
		return leave(LEFT_OTHER);
	to = &s->side[(r->from ^ 1) & 1];
	if (!rewrite_ip((void *)(long)skb->data, (void *)(long)skb->data_end, p, to->own, to->address, r->from == CLIENT ? s->addresses : ~s->addresses))
		return drop(IPPROTO_UDP, DROP_TTL);
	return send_out(r->slot, r->from ^ 1);
}

static __always_inline int udp(struct __sk_buff *skb, struct packet *p)
{
	struct ref *r = bpf_map_lookup_elem(&tuples, &p->tuple);
	struct session *s = r ? slot_of(r) : 0;

	if (!s)
		return new_udp(skb, p);
	if (s->state == STATE_CLOSED) {
		if (r->from == ORIGIN)
			return leave(LEFT_OTHER); /* the stack says that nobody is there */
		if (!(s->flags & SESSION_FIRST_ONLY)) /* whose port towards the origin rests */
			forget(r->slot);
		return new_udp(skb, p);
	}
	if (r->from == ORIGIN)
		return datagram_from_origin(skb, p, r->slot);
	return datagram_from_client(skb, p, r->slot);
}

/* carried tells whether a packet belongs to a session or a service that is ours. */
__noinline int carried(struct __sk_buff *skb, struct packet *p)
{
	__u32 zero = 0, ifindex = skb->ifindex;
	struct interface *i = bpf_map_lookup_elem(&interfaces, &ifindex);
	struct configuration *c = bpf_map_lookup_elem(&config, &zero);
	struct wanted w = {};
	struct service *v;

	if (!p || !i || !c)
		return false;
	if (bpf_map_lookup_elem(&tuples, &p->tuple))
		return true;
	if (!i->edge || c->off || !find_service(c->generation & 1, &p->tuple, &w))
		return false;
	v = entry(&services, c->generation & 1, w.service);
	return v && v->path & (p->tuple.protocol == IPPROTO_UDP ? PATH_UDP : PATH_TCP);
}

/* headed_service tells whether a datagram would begin a flow with a header in front. */
__noinline int headed_service(struct packet *p)
{
	__u32 zero = 0;
	struct configuration *c = bpf_map_lookup_elem(&config, &zero);
	struct wanted w = {};
	struct service *v;

	if (!p || !c || !find_service(c->generation & 1, &p->tuple, &w))
		return false;
	v = entry(&services, c->generation & 1, w.service);
	return v && v->path & PATH_UDP && v->udp_header != HEADER_NONE;
}

/* refuse drops what no session can take. */
__noinline int refuse(struct __sk_buff *skb, struct packet *p, __u32 why)
{
	if (!p || !p->tuple.dport || !carried(skb, p))
		return leave(LEFT_OTHER);
	return drop(p->tuple.protocol, why);
}

/* fragment takes a part of a datagram, in whose front nothing has to be put or taken away. The first is known by its ports, the
 * others by it; those that overtake it are left to the stack, which forgets them. */
static __always_inline int fragment(struct __sk_buff *skb, struct packet *p)
{
	struct session *s;
	struct ref *r;
	int verdict;

	if (p->later)
		return p->tuple.protocol == IPPROTO_UDP ? later(skb, p) : leave(LEFT_OTHER);
	if (!p->first)
		return refuse(skb, p, DROP_FRAGMENT);
	r = bpf_map_lookup_elem(&tuples, &p->tuple);
	s = r ? slot_of(r) : 0;
	if (s && (s->header == HEADER_SPP || (r->from == CLIENT && s->header)))
		return drop(IPPROTO_UDP, DROP_FRAGMENT);
	if (!s && headed_service(p))
		return refuse(skb, p, DROP_FRAGMENT);
	verdict = udp(skb, p);
	if (verdict != NEXT && verdict != DROP)
		remember(p);
	return verdict;
}

#endif
