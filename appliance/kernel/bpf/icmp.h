/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* ICMP errors about packets that these programs sent: they reach the end whose packet it was, about the packet that it sent.
 * Path MTU discovery and the refusal of a firewall depend on it (RFC 1191, RFC 8201, RFC 5508). */
#ifndef ICMP_H
#define ICMP_H

#include "udp.h"

#define ICMP_HEADER 8

/* quoted reads the packet inside an error: the tuple that its answers have. False: it is no error, or not about a packet of
 * TCP or UDP that can be told. */
static __always_inline bool quoted(struct __sk_buff *skb, struct packet *p, __u8 *type, __u8 *code, __u32 *seq)
{
	void *data, *end;
	__u32 inner = ETH_HLEN + ICMP_HEADER + (p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr));
	__u32 room = inner + (p->v4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr)) + 8;
	__be16 *ports;
	__u8 *icmp;

	if (skb->len < room)
		return false;
	if (skb->data_end - skb->data < room)
		bpf_skb_pull_data(skb, room);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (p->v4) {
		struct iphdr *ip = data + ETH_HLEN, *in = data + ETH_HLEN + sizeof(*ip) + ICMP_HEADER;

		if ((void *)(in + 1) + 8 > end || ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff))
			return false;
		if (bpf_ntohs(ip->tot_len) + ETH_HLEN < room) /* what Ethernet padded is no part of it */
			return false;
		icmp = (void *)(ip + 1);
		if (in->version != 4 || in->ihl != 5 || in->frag_off & bpf_htons(0x1fff))
			return false;
		p->tuple.protocol = in->protocol;
		map_v4(p->tuple.src, in->daddr);
		map_v4(p->tuple.dst, in->saddr);
		ports = (void *)(in + 1);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN, *in = data + ETH_HLEN + sizeof(*ip) + ICMP_HEADER;

		if ((void *)(in + 1) + 8 > end || bpf_ntohs(ip->payload_len) + sizeof(*ip) + ETH_HLEN < room)
			return false;
		icmp = (void *)(ip + 1);
		if (in->version != 6)
			return false;
		p->tuple.protocol = in->nexthdr;
		__builtin_memcpy(p->tuple.src, &in->daddr, 16);
		__builtin_memcpy(p->tuple.dst, &in->saddr, 16);
		if (mapped(p->tuple.src) || mapped(p->tuple.dst))
			return false;
		ports = (void *)(in + 1);
	}
	*type = icmp[0];
	*code = icmp[1];
	p->tuple.sport = ports[1];
	p->tuple.dport = ports[0];
	*seq = bpf_ntohl(*(__be32 *)(ports + 2));
	if (p->v4 ? *type != 3 : *type != 1 && *type != 2)
		return false;
	return p->tuple.protocol == IPPROTO_TCP || p->tuple.protocol == IPPROTO_UDP;
}

/* unreachable tells whether the error says that nobody is there, and not how large a packet may be. */
static __always_inline bool unreachable(const struct packet *p, __u8 type, __u8 code)
{
	return p->v4 ? code != 4 : type == 1;
}

/* refusal is the reason that the user path has when a socket says the same: the port is closed, or there is no way to it. */
static __always_inline __u8 refusal(const struct packet *p, __u8 code)
{
	return code == (p->v4 ? 3 : 4) ? REASON_ORIGIN_REFUSED : REASON_NETWORK_UNREACHABLE;
}

/* translate writes the error for the end that sent the packet: from is the side that would have answered it. minus is taken
 * from its sequence number. */
__noinline int translate(struct __sk_buff *skb, struct packet *p, __u32 slot, __u32 from, __u32 minus)
{
	struct session *s = bpf_map_lookup_elem(&sessions, &slot);
	struct side *to;
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	__u32 change;
	__be16 *ports;
	__be32 *seq, moved;
	__sum16 *check;

	if (!p || !s)
		return DROP;
	to = &s->side[(from ^ 1) & 1];
	if (p->v4) {
		struct iphdr *ip = data + ETH_HLEN, *in = data + ETH_HLEN + sizeof(*ip) + ICMP_HEADER;
		__be32 src = *(__be32 *)(to->own + 12), dst = *(__be32 *)(to->address + 12);

		if ((void *)(in + 1) + 8 > end)
			return drop(p->tuple.protocol, DROP_INTERNAL);
		if (ip->ttl <= 1)
			return drop(p->tuple.protocol, DROP_TTL);
		/* What is changed inside is summed up by the header inside as well, so only its own sum changes in the error. */
		change = sum_add(sum_change(in->saddr, dst), sum_change(in->daddr, src));
		in->check = apply_sum(in->check, change);
		in->saddr = dst;
		in->daddr = src;
		change = 0;
		ip->check = apply_sum(ip->check, sum_add(sum_add(sum_change(ip->saddr, src), sum_change(ip->daddr, dst)), sum_change(bpf_htons(0x0100), 0)));
		ip->ttl--;
		ip->saddr = src;
		ip->daddr = dst;
		check = (void *)(ip + 1) + 2;
		ports = (void *)(in + 1);
	} else {
		struct ipv6hdr *ip = data + ETH_HLEN, *in = data + ETH_HLEN + sizeof(*ip) + ICMP_HEADER;

		if ((void *)(in + 1) + 8 > end)
			return drop(p->tuple.protocol, DROP_INTERNAL);
		if (ip->hop_limit <= 1)
			return drop(p->tuple.protocol, DROP_TTL);
		/* Once inside, and once in the pseudo header of the error (RFC 4443, 2.3). */
		change = bpf_csum_diff((__be32 *)&in->saddr, 32, (__be32 *)to->address, 32, 0);
		change = sum_add(change, bpf_csum_diff((__be32 *)&ip->saddr, 32, (__be32 *)to->address, 32, 0));
		__builtin_memcpy(&in->saddr, to->address, 16);
		__builtin_memcpy(&in->daddr, to->own, 16);
		__builtin_memcpy(&ip->saddr, to->own, 16);
		__builtin_memcpy(&ip->daddr, to->address, 16);
		ip->hop_limit--;
		check = (void *)(ip + 1) + 2;
		ports = (void *)(in + 1);
	}
	seq = (__be32 *)(ports + 2);
	change = sum_add(change, sum_change((__u32)ports[0] + ports[1], (__u32)to->port + to->own_port));
	ports[0] = to->port;
	ports[1] = to->own_port;
	if (minus) {
		moved = bpf_htonl(bpf_ntohl(*seq) - minus);
		change = sum_add(change, sum_change(*seq, moved));
		*seq = moved;
	}
	*check = apply_sum(*check, change);
	return send_out(slot, from ^ 1);
}

static __always_inline int icmp(struct __sk_buff *skb, struct packet *p)
{
	__u8 type = 0, code = 0;
	__u32 seq = 0, minus = 0;
	struct session *s;
	struct ref *r;

	if (!quoted(skb, p, &type, &code, &seq))
		return leave(LEFT_OTHER);
	r = bpf_map_lookup_elem(&tuples, &p->tuple);
	s = r ? slot_of(r) : 0;
	if (!s)
		return leave(LEFT_OTHER);
	if (p->tuple.protocol == IPPROTO_UDP) {
		/* As with a socket: the flow ends, and the client's next datagram begins another. */
		if (r->from == ORIGIN && unreachable(p, type, code))
			close(r->slot, refusal(p, code));
		return drop(IPPROTO_UDP, DROP_ICMP);
	}
	/* A guess does not know what is under way (RFC 5927, 4.1). */
	if (r->from == ORIGIN) {
		/* The numbers of a packet to the origin are moved back to the client's. In front of a SYN there is no header. */
		minus = s->shift + (seq == s->isn + s->shift ? 0 : s->header_length);
		seq -= minus;
	}
	if (s->state == STATE_SYN) {
		if (seq != s->isn)
			return drop(IPPROTO_TCP, DROP_WINDOW);
	} else {
		struct side *sender = &s->side[(r->from ^ 1) & 1], *other = &s->side[r->from & 1];

		if ((__s32)(seq - sender->next) > 0 || (__s32)(seq - other->ack) < -1)
			return drop(IPPROTO_TCP, DROP_WINDOW);
	}
	if (s->state == STATE_SYN && r->from == ORIGIN && unreachable(p, type, code))
		close(r->slot, refusal(p, code));
	return translate(skb, p, r->slot, r->from, minus);
}

#endif
