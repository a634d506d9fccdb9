/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a right cookie to a connection. The shield finds that an ACK has one, and marks the packet; the program at tc ingress, the
 * first place with a socket buffer, gives it to a listener as if that had sent the SYN-ACK. */
#ifndef ADMIT_H
#define ADMIT_H

#include "cookie.h"

/* In front of the frame, for the program at tc ingress. */
#define MARK_OF_COOKIE 0xb7c00c1e

/* An ACK and the data behind it are often of one batch, which goes through both programs before any of it reaches a socket. Within
 * so many ns after the first packet was given to a listener, the others go the same way by themselves. */
#define BATCH 5000000ULL

/* The kernel's own. */
struct sock {};

extern int bpf_sk_assign_tcp_reqsk(struct __sk_buff *skb, struct sock *sk, struct bpf_tcp_req_attrs *attrs, int attrs__sz) __ksym;

/* socket_tuple writes a tuple as socket lookups take it, and gives its size. */
static __always_inline __u32 socket_tuple(struct bpf_sock_tuple *out, const struct tuple *t)
{
	if (mapped(t->src)) {
		out->ipv4.saddr = *(const __be32 *)(t->src + 12);
		out->ipv4.daddr = *(const __be32 *)(t->dst + 12);
		out->ipv4.sport = t->sport;
		out->ipv4.dport = t->dport;
		return sizeof(out->ipv4);
	}
	copy_words(out->ipv6.saddr, t->src);
	copy_words(out->ipv6.daddr, t->dst);
	out->ipv6.sport = t->sport;
	out->ipv6.dport = t->dport;
	return sizeof(out->ipv6);
}

/* kernel_cookie tells whether an ACK, or the first data behind it, has a SYN cookie of the kernel (tcp_syncookies of ip-sysctl), which
 * answers for a listener of the user path that is flooded while our cookies are off or rest. Such a client has no socket yet. */
__noinline int kernel_cookie(struct frame *f)
{
	struct tcphdr tcp = {};

	if (!f || (f->flags & (SYN | RST | ACK)) != ACK)
		return false;
	tcp.source = f->tuple.sport;
	tcp.dest = f->tuple.dport;
	tcp.seq = bpf_htonl(f->seq);
	tcp.ack_seq = bpf_htonl(f->ack);
	if (f->v4) {
		struct iphdr ip = {.saddr = *(const __be32 *)(f->tuple.src + 12), .daddr = *(const __be32 *)(f->tuple.dst + 12)};

		return bpf_tcp_raw_check_syncookie_ipv4(&ip, &tcp) == 0;
	}
	struct ipv6hdr ip = {};

	copy_words(&ip.saddr, f->tuple.src);
	copy_words(&ip.daddr, f->tuple.dst);
	return bpf_tcp_raw_check_syncookie_ipv6(&ip, &tcp) == 0;
}

/* listening tells whether there is a listener that takes connections: the process of the user path may be away. */
static __always_inline bool listening(void)
{
	__u32 zero = 0;
	struct bpf_sock *s = bpf_map_lookup_elem(&listeners, &zero);

	if (!s)
		return false;
	bpf_sk_release(s);
	return true;
}

/* blind tells whether some driver leaves no room for marks. */
static __always_inline bool blind(void)
{
	__u32 zero = 0, *b = bpf_map_lookup_elem(&cookie_blind, &zero);

	return b && *b;
}

static __always_inline void set_blind(void)
{
	__u32 zero = 0, *b = bpf_map_lookup_elem(&cookie_blind, &zero);

	if (b && !*b)
		*b = 1;
}

/* mark_packet tells the program at tc ingress. Where the driver leaves no room for that, it has to look by itself. */
static __always_inline void mark_packet(struct xdp_md *ctx)
{
	__u32 *mark;

	if (bpf_xdp_adjust_meta(ctx, -(int)sizeof(*mark))) {
		set_blind();
		return;
	}
	mark = (void *)(long)ctx->data_meta;
	if ((void *)(mark + 1) <= (void *)(long)ctx->data)
		*mark = MARK_OF_COOKIE;
}

static __always_inline bool marked(struct __sk_buff *skb)
{
	__u32 *mark = (void *)(long)skb->data_meta;

	return (void *)(mark + 1) <= (void *)(long)skb->data && *mark == MARK_OF_COOKIE;
}

/* connected tells whether a socket has this connection by now. */
static __always_inline bool connected(struct __sk_buff *skb, const struct tuple *tuple)
{
	struct bpf_sock_tuple t = {};
	__u32 size = socket_tuple(&t, tuple), state;
	struct bpf_sock *s = bpf_skc_lookup_tcp(skb, &t, size, BPF_F_CURRENT_NETNS, 0);

	if (!s)
		return false;
	state = s->state;
	bpf_sk_release(s);
	return state != BPF_TCP_LISTEN;
}

/* assign gives the packet to a listener: always the same one for a client, and clients spread over all. */
static __always_inline bool assign(struct __sk_buff *skb, struct packet *p, const struct cookie_state *s, struct admission *a)
{
	struct bpf_tcp_req_attrs attrs = a->attrs;
	const __u64 *words = (const __u64 *)p->tuple.src;
	__u32 at = p->v4 ? 0 : MAX_LISTENERS;
	struct bpf_sock *listener;
	struct tcp_sock *tcp;
	bool given = false;

	at += mix(words[0] ^ words[1] ^ p->tuple.sport ^ s->seed) % (s->listeners ? s->listeners : 1);
	listener = bpf_map_lookup_elem(&listeners, &at);
	if (!listener)
		return false;
	tcp = bpf_skc_to_tcp_sock(listener);
	if (tcp)
		given = bpf_sk_assign_tcp_reqsk(skb, (struct sock *)tcp, &attrs, sizeof(attrs)) == 0;
	bpf_sk_release(listener);
	return given;
}

/* let_in makes a connection of a packet with a right cookie. The mark brings it past TPROXY, which would take its socket away. */
__noinline int let_in(struct __sk_buff *skb, struct packet *p)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 zero = 0;
	struct cookie_state *s = bpf_map_lookup_elem(&cookie_states, &zero);
	struct admission *a;

	if (!p || !s)
		return DROP;
	a = bpf_map_lookup_elem(&admissions, &p->tuple);
	if (!a)
		return leave(LEFT_OTHER);
	if (!a->assigned || now - a->assigned > BATCH) {
		if (a->assigned && connected(skb, &p->tuple))
			return leave(LEFT_OTHER);
		a->assigned = now;
		if (!assign(skb, p, s, a))
			return drop(IPPROTO_TCP, DROP_INTERNAL);
	}
	skb->mark = s->mark;
	return leave(LEFT_OTHER);
}

#endif
