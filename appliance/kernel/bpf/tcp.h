/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP from client to origin and back, with the PROXY header in the client's stream.
 *
 * The client's handshake goes through to the origin. The packet that ends it, an empty one with the first sequence number
 * of the stream, is made longer at its tail by the header, so that the origin reads the header first; from then on what the
 * client sends is moved by the header's length, and what the origin acknowledges is moved back. Until the origin has
 * acknowledged the header it is sent again whenever the client says something from the beginning of its stream. */
#ifndef TCP_H
#define TCP_H

#include <bpf/bpf_core_read.h>

#include "admit.h"
#include "begin.h"
#include "hops.h"
#include "options.h"

/* A header that was sent so long ago, in ns, is sent again with the client's next first bytes. */
#define HEADER_AGAIN 20000000ULL

/* An origin that has what lies behind the header, but not it, so long after it was sent, in ns, has lost it. */
#define HEADER_LOST 3000000ULL

/* An origin that has not answered a SYN for so long, in ns, is left for another: with the client's second repetition. */
#define ORIGIN_SILENT 2500000000ULL

/* How far beyond what was offered, and behind what was acknowledged, a packet may lie. It is wide, as the ends look exactly:
 * a window that is refused here by mistake would be a session that hangs. */
#define WINDOW_SLACK 65536
#define WINDOW_BEHIND (1 << 24)

/* write_tcp gives the packet the addresses, ports and numbers of the other side. difference is what was changed of the
 * segment already. */
static __always_inline int write_tcp(struct __sk_buff *skb, struct packet *p, struct session *s, __u32 from, __u32 seq, __u32 ack, __u32 difference)
{
	struct side *to = &s->side[(from ^ 1) & 1];
	__u32 addresses = from == CLIENT ? s->addresses : ~s->addresses;
	__u32 ports = from == CLIENT ? s->ports : ~s->ports;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct tcphdr *tcp = data + (p->v4 ? ETH_HLEN + sizeof(struct iphdr) : ETH_HLEN + sizeof(struct ipv6hdr));
	__be32 new_seq = bpf_htonl(seq), new_ack = bpf_htonl(ack);

	if ((void *)(tcp + 1) > end)
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	difference = sum_add(difference, ports);
	difference = sum_add(difference, sum_change(tcp->seq, new_seq));
	difference = sum_add(difference, sum_change(tcp->ack_seq, new_ack));
	tcp->source = to->own_port;
	tcp->dest = to->port;
	tcp->seq = new_seq;
	tcp->ack_seq = new_ack;
	if (!rewrite_ip(data, end, p, to->own, to->address, addresses))
		return drop(IPPROTO_TCP, DROP_TTL);
	bpf_l4_csum_replace(skb, p->l4 + TCP_CHECK, 0, difference, 0);
	bpf_l4_csum_replace(skb, p->l4 + TCP_CHECK, 0, addresses, BPF_F_PSEUDO_HDR);
	return NEXT;
}

/* The kernel's sk_buff, as far as we read it: whether the network card is to complete the checksum. */
struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

#define CHECKSUM_PARTIAL 3

extern void *bpf_cast_to_kern_ctx(void *) __ksym;

static __always_inline bool checksum_is_partial(struct __sk_buff *skb)
{
	struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb);

	return BPF_CORE_READ_BITFIELD(kernel, ip_summed) == CHECKSUM_PARTIAL;
}

static __always_inline struct tcphdr *tcp_of(struct __sk_buff *skb, bool v4)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct tcphdr *tcp = data + (v4 ? ETH_HLEN + sizeof(struct iphdr) : ETH_HLEN + sizeof(struct ipv6hdr));

	return (void *)(tcp + 1) > end ? 0 : tcp;
}

/* seal writes the checksum of a segment anew. length is that of its header, size of its payload with the sum payload; pair are
 * its addresses. */
static __always_inline int seal(struct __sk_buff *skb, struct packet *p, const __u8 *pair, __u32 length, __u32 size, __u32 payload)
{
	bool partial = checksum_is_partial(skb);
	struct tcphdr *tcp = tcp_of(skb, p->v4);
	__u8 header[60] = {};
	__u32 sum;

	length = bounded(length, sizeof(header));
	if (!tcp || length < sizeof(*tcp))
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	tcp->check = 0;
	/* The pseudo header (RFC 9293, 3.1; RFC 8200, 8.1): addresses, length, protocol. */
	sum = bpf_csum_diff(0, 0, (__be32 *)pair, 32, 0);
	if (p->v4) /* ::ffff: is in both, and no part of it */
		sum = sum_add(sum, ~sum_add(bpf_htonl(0xffff), bpf_htonl(0xffff)));
	sum = sum_add(sum, sum_add(bpf_htonl(length + size), bpf_htonl(IPPROTO_TCP)));
	if (!partial) {
		if (bpf_skb_load_bytes(skb, p->l4, header, length))
			return drop(IPPROTO_TCP, DROP_INTERNAL);
		sum = sum_add(sum_add(sum, bpf_csum_diff(0, 0, (__be32 *)header, sizeof(header), 0)), payload);
		tcp = tcp_of(skb, p->v4);
		if (!tcp)
			return drop(IPPROTO_TCP, DROP_INTERNAL);
	}
	tcp->check = partial ? sum_fold(sum) : (__u16)~sum_fold(sum);
	return NEXT;
}

/* append_header makes the packet end with the PROXY header, in place of its payload. The packet is written for the origin
 * already, with the first sequence number of the stream. */
__noinline int append_header(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct tcphdr *tcp;
	struct text *t;
	__u32 size;

	if (!p || !s)
		return DROP;
	t = make_header(s);
	if (!t)
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	size = bounded(t->size, HEADER_ROOM - 4);
	if (!size)
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	if (bpf_skb_change_tail(skb, p->payload + size, 0) || bpf_skb_store_bytes(skb, p->payload, t->bytes, size, 0))
		return drop(IPPROTO_TCP, DROP_HEADER);
	if (!set_ip_size(skb, p->v4, p->payload + size - ETH_HLEN))
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	tcp = tcp_of(skb, p->v4);
	if (!tcp)
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	((__u8 *)tcp)[13] = (p->flags & ~(FIN | URG)) | PSH; /* those are of the payload */
	s->header_sent = bpf_ktime_get_ns();
	return seal(skb, p, s->side[ORIGIN].address, p->payload - p->l4, size, header_sum(t));
}

/* challenge answers a SYN in a session that lives with what the client should expect (RFC 5961, 4). A client that has begun
 * anew resets the old session by it, and its next SYN opens another; a forger learns nothing. */
__noinline int challenge(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	const struct side *c;
	struct tcphdr *tcp;
	int verdict;

	if (!p || !s)
		return DROP;
	c = &s->side[CLIENT];
	if (bpf_skb_change_tail(skb, p->l4 + sizeof(*tcp), 0) || !set_ip_size(skb, p->v4, p->l4 + sizeof(*tcp) - ETH_HLEN))
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	if (!rewrite_ip((void *)(long)skb->data, (void *)(long)skb->data_end, p, c->own, c->address, 0))
		return drop(IPPROTO_TCP, DROP_TTL);
	tcp = tcp_of(skb, p->v4);
	if (!tcp)
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	tcp->source = c->own_port;
	tcp->dest = c->port;
	tcp->seq = bpf_htonl(c->ack);
	tcp->ack_seq = bpf_htonl(c->next);
	((__u8 *)tcp)[12] = sizeof(*tcp) / 4 << 4;
	((__u8 *)tcp)[13] = ACK;
	tcp->urg_ptr = 0;
	verdict = seal(skb, p, c->address, sizeof(*tcp), 0, 0);
	return verdict == NEXT ? send_out(slot, CLIENT) : verdict;
}

/* within tells whether a packet belongs to what the two sides are saying now (RFC 9293, 3.10.7.4; RFC 5961). */
static __always_inline bool within(const struct session *s, const struct packet *p, __u32 from)
{
	const struct side *other = &s->side[(from ^ 1) & 1];
	__u32 last = p->seq + p->size;

	if (s->state == STATE_SYN || !other->window)
		return true;
	return (__s32)(p->seq - (other->ack + other->window + WINDOW_SLACK)) <= 0 &&
	       (__s32)(last - (other->ack - WINDOW_BEHIND)) >= 0;
}

/* note keeps what a packet says about its sender, and finds the end of the session. */
static __always_inline void note(__u32 slot, struct session *s, const struct packet *p, __u32 from, __u32 ack)
{
	struct side *side = &s->side[from & 1], *other = &s->side[(from ^ 1) & 1];
	__u32 last = p->seq + p->size + !!(p->flags & SYN) + !!(p->flags & FIN);
	__u32 window = p->flags & SYN ? p->window : (__u32)p->window << (side->scale & 15);
	__s32 fresh = p->seq + p->size - side->next; /* what comes again was counted */
	bool answer = p->flags & SYN && from == ORIGIN && s->state == STATE_SYN;

	if (answer) {
		side->next = last;
		other->ack = last; /* numbers begin anywhere, so there is no telling which is later than none */
	}
	if ((__s32)(last - side->next) > 0)
		side->next = last;
	/* What the other side has not said cannot be acknowledged (RFC 5961, 5): believed, it would shut that side out. */
	if (from == CLIENT && !(side->flags & SIDE_PROVEN) && p->flags & ACK && s->state == STATE_OPEN &&
	    (__s32)(ack - side->ack) >= 0 && (__s32)(ack - other->next) <= 0 && proven(s) && s->flags & SESSION_COUNTED)
		tell(EVENT_PROVEN, slot);
	if (p->flags & ACK && (answer || ((__s32)(ack - side->ack) > 0 && (__s32)(ack - other->next) <= 0)))
		side->ack = ack;
	if (window > side->window)
		side->window = window;
	if (window)
		side->stalled = 0;
	else if (!side->stalled)
		side->stalled = bpf_ktime_get_ns();
	__sync_fetch_and_add(&side->packets, 1);
	if (p->size) {
		if (fresh > 0)
			__sync_fetch_and_add(&side->bytes, fresh);
		s->active = bpf_ktime_get_coarse_ns();
		if (!(side->flags & SIDE_SPOKE))
			__sync_fetch_and_or(&side->flags, SIDE_SPOKE);
	}
	if (p->flags & FIN && !(side->flags & SIDE_FIN)) {
		side->fin = last;
		__sync_fetch_and_or(&side->flags, SIDE_FIN);
		s->active = bpf_ktime_get_ns();
		if (from == ORIGIN && !(other->flags & SIDE_FIN))
			__sync_fetch_and_or(&s->flags, SESSION_LONG);
	}
	if (other->flags & SIDE_FIN && p->flags & ACK && !(other->flags & SIDE_FINACKED) && (__s32)(ack - other->fin) >= 0)
		__sync_fetch_and_or(&other->flags, SIDE_FINACKED);
	if (side->flags & SIDE_FINACKED && other->flags & SIDE_FINACKED && s->state != STATE_CLOSED)
		close(slot, REASON_NORMAL);
}

/* reset ends the session if the other side would take this RST: it takes exactly the next number (RFC 5961, 3.2), and an
 * answer to its SYN. A client whose SYN was answered by another connection resets that one, and sends its SYN again. */
static __always_inline void reset(__u32 slot, struct session *s, const struct packet *p, __u32 from)
{
	struct side *side = &s->side[from & 1], *other = &s->side[(from ^ 1) & 1];

	if (s->state == STATE_SYN) {
		if (from == ORIGIN)
			close(slot, REASON_ORIGIN_REFUSED);
		else if (p->seq == side->next)
			close(slot, REASON_CLIENT_RESET);
		return;
	}
	if (p->seq == other->ack || p->seq == side->next)
		close(slot, from == ORIGIN ? REASON_ORIGIN_RESET : REASON_CLIENT_RESET);
}

/* client_ack moves what the origin acknowledges back into the client's numbers. */
static __always_inline __u32 client_ack(struct session *s, const struct packet *p)
{
	__u32 length = s->header_length, ack = p->ack - s->shift, said = ack - (s->isn + 1);

	if (s->state == STATE_SYN || p->flags & SYN)
		return ack; /* of the SYN, or of another connection: of a header it cannot be */
	if (!length || s->flags & SESSION_HEADED)
		return ack - length;
	if (said < length || said > 0x7fffffff)
		return s->isn + 1; /* of the header, only we know */
	ack -= length;
	if (s->header_sent && (__s32)(ack - s->side[CLIENT].next) <= 0)
		__sync_fetch_and_or(&s->flags, SESSION_HEADED);
	return ack;
}

/* renew makes of an acknowledgement that shows that the header was lost, as it has what lies behind, the header once more. The
 * acknowledgement comes again from the interface. Without that the client would find out only by its timer. */
__noinline int renew(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	const struct side *o;
	struct tcphdr *tcp;
	int verdict;

	if (!p || !s)
		return DROP;
	o = &s->side[ORIGIN];
	s->header_sent = bpf_ktime_get_ns();
	if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
		return drop(IPPROTO_TCP, DROP_HEADER);
	p->payload = p->l4 + sizeof(*tcp);
	p->flags = ACK;
	if (bpf_skb_change_tail(skb, p->payload, 0) || !set_ip_size(skb, p->v4, p->payload - ETH_HLEN))
		return drop(IPPROTO_TCP, DROP_HEADER);
	if (!rewrite_ip((void *)(long)skb->data, (void *)(long)skb->data_end, p, o->own, o->address, 0))
		return drop(IPPROTO_TCP, DROP_TTL);
	tcp = tcp_of(skb, p->v4);
	if (!tcp)
		return drop(IPPROTO_TCP, DROP_INTERNAL);
	tcp->source = o->own_port;
	tcp->dest = o->port;
	tcp->seq = bpf_htonl(s->isn + 1 + s->shift);
	tcp->ack_seq = bpf_htonl(s->side[CLIENT].ack);
	((__u8 *)tcp)[12] = sizeof(*tcp) / 4 << 4;
	verdict = append_header(skb, p, slot);
	return verdict == NEXT ? send_out(slot, ORIGIN) : verdict;
}

__noinline int from_origin(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 length, back, ack, difference = 0;
	bool counts;
	int verdict;

	if (!p || !s)
		return DROP;
	length = s->header_length;
	back = s->shift + length;
	if (!within(s, p, ORIGIN))
		return drop(IPPROTO_TCP, DROP_WINDOW);
	ack = p->flags & ACK ? client_ack(s, p) : p->ack;
	/* An answer to the SYN acknowledges it. Anything else is for the client to judge (RFC 9293, 3.10.7.3). */
	counts = s->state != STATE_SYN || (p->flags & ACK && ack == s->isn + 1);
	if (p->flags & RST) {
		if (counts)
			reset(slot, s, p, ORIGIN);
	} else if (p->flags & SYN) {
		difference = write_syn(skb, p, slot, ORIGIN);
		if (length && p->flags & ACK) {
			/* What it offers has to hold the header, too. */
			struct tcphdr *tcp = tcp_of(skb, p->v4);
			__be16 less;

			if (!tcp)
				return drop(IPPROTO_TCP, DROP_INTERNAL);
			p->window = p->window > length ? p->window - length : 0;
			less = bpf_htons(p->window);
			difference = sum_add(difference, sum_change(tcp->window, less));
			tcp->window = less;
		}
		if (counts)
			note(slot, s, p, ORIGIN, ack);
		if (counts && __sync_val_compare_and_swap(&s->state, STATE_SYN, STATE_OPEN) == STATE_SYN) {
			tell(EVENT_ANSWERED, slot);
		}
	} else {
		bool more = p->options > 0;
		__be32 first = 0;

		/* Nearly all have two NOPs and timestamps, and nothing else. What else there is are SACK blocks. */
		if (p->options == 12 && !bpf_skb_load_bytes(skb, p->l4 + sizeof(struct tcphdr), &first, 4))
			more = first != bpf_htonl(0x0101080a);
		if (length && more && !(s->flags & SESSION_HEADED) && s->state == STATE_OPEN && s->header_sent &&
		    bpf_ktime_get_ns() - s->header_sent > HEADER_LOST)
			return renew(skb, p, slot);
		if (counts)
			note(slot, s, p, ORIGIN, ack);
		if (back && more)
			difference = write_sack(skb, p, back);
	}
	verdict = write_tcp(skb, p, s, ORIGIN, p->seq, ack, difference);
	return verdict == NEXT ? send_out(slot, CLIENT) : verdict;
}

__noinline int from_client(struct __sk_buff *skb, struct packet *p, __u32 slot)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	__u32 seq, difference = 0;
	bool append = false;
	int verdict;

	if (!p || !s)
		return DROP;
	if (!within(s, p, CLIENT))
		return drop(IPPROTO_TCP, DROP_WINDOW);
	seq = p->seq + s->shift;
	if (p->flags & SYN) {
		difference = write_syn(skb, p, slot, CLIENT);
	} else if (!s->header_length || s->flags & SESSION_HEADED) {
		seq += s->header_length;
	} else if (p->seq == s->isn + 1 && !(p->flags & RST) && s->state != STATE_SYN) {
		__u64 now = bpf_ktime_get_ns();

		append = p->size == 0 && !(p->flags & FIN);
		if (!append && now - s->header_sent > HEADER_AGAIN) {
			/* The bytes come again from the interface, behind the header that this packet becomes. */
			s->header_sent = now;
			if (bpf_clone_redirect(skb, skb->ifindex, BPF_F_INGRESS))
				return drop(IPPROTO_TCP, DROP_HEADER);
			p->size = 0;
			p->flags &= ~FIN;
			append = true;
		}
		if (!append)
			seq += s->header_length;
	} else if (p->seq != s->isn && s->state != STATE_SYN) { /* that is a keepalive before the header arrived */
		seq += s->header_length;
	}
	if (p->flags & RST)
		reset(slot, s, p, CLIENT);
	else
		note(slot, s, p, CLIENT, p->ack);
	verdict = write_tcp(skb, p, s, CLIENT, seq, p->ack, difference);
	if (verdict == NEXT && append)
		verdict = append_header(skb, p, slot);
	return verdict == NEXT ? send_out(slot, ORIGIN) : verdict;
}

/* new_tcp begins a session with a SYN, or leaves the packet to the user path. */
__noinline int new_tcp(struct __sk_buff *skb, struct packet *p)
{
	struct begun b = {};

	if (!p)
		return DROP;
	if ((p->flags & (SYN | ACK | RST | FIN)) != SYN && p->flags & ACK && blind())
		return let_in(skb, p);
	if ((p->flags & (SYN | ACK | RST | FIN)) != SYN || elder(&p->tuple))
		return leave(LEFT_OTHER);
	if (forged(skb, p))
		return drop(IPPROTO_TCP, DROP_BOGON);
	if (p->size || !read_syn(skb, p))
		return leave(LEFT_OPTIONS);
	if (!begin(skb, p, &b))
		return leave(b.why);
	return from_client(skb, p, b.slot);
}

static __always_inline int tcp(struct __sk_buff *skb, struct packet *p)
{
	struct ref *r = bpf_map_lookup_elem(&tuples, &p->tuple);
	struct session *s = r ? slot_of(r) : 0;

	if (!s)
		return new_tcp(skb, p);
	if (s->flags & SESSION_KILLED && s->state == STATE_CLOSED)
		return leave(LEFT_OTHER); /* the stack answers with RST, as this end wants it */
	if (r->from == ORIGIN)
		return from_origin(skb, p, r->slot);
	if ((p->flags & (SYN | ACK | RST | FIN)) == SYN) {
		if (s->state == STATE_SYN && p->seq != s->isn)
			close(r->slot, REASON_CLIENT_RESET); /* it has given up, and begins anew */
		else if (s->state == STATE_SYN && bpf_ktime_get_ns() - s->started > ORIGIN_SILENT)
			close(r->slot, REASON_CONNECT_TIMEOUT); /* perhaps another origin is there */
		else if (s->state == STATE_OPEN && p->seq != s->isn)
			return challenge(skb, p, r->slot);
		if (s->state == STATE_CLOSED) { /* some try a second time after a refusal, with the same number */
			forget(r->slot);
			return new_tcp(skb, p);
		}
	}
	return from_client(skb, p, r->slot);
}

#endif
