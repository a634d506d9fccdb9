/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reading a frame as it comes from the wire, before the kernel has looked at it. */
#ifndef FRAME_H
#define FRAME_H

#include "packet.h"

#define MAX_TAGS 2       /* of 802.1Q and 802.1ad */
#define MAX_EXTENSIONS 6 /* of IPv6: each kind once, and one to spare (RFC 8200, 4.1) */

/* Bytes of extension headers, all together. Who sends more wants to hide what is behind them: a driver may leave all but the
 * first few hundred bytes of a frame where a program cannot look at once. */
#define MAX_EXTENSION_BYTES 192

/* What a frame is. */
enum {
	FOREIGN = 0, /* not IP, or too short to tell for whom it is: for the stack to judge */
	WHOLE,       /* TCP or UDP, with ports */
	PIECE_OF,    /* a fragment; the first has ports when it is long enough */
	BROKEN,      /* a length is wrong, or a port is 0 */
	BOGUS,       /* TCP flags that no program sends */
	ICMP,
	STRANGE,     /* another protocol, or it is behind too many headers to tell */
	BURIED,      /* under too many tags to tell for whom it is. The stack takes off tags of VLAN 0, however many there are */
};

struct frame {
	struct tuple tuple; /* ports are 0 where there are none */
	__u32 payload;      /* where it begins */
	__u32 size;         /* bytes of it */
	__u32 length;       /* of the frame */
	__u32 seq;
	__u32 ack;
	__u32 network;      /* where the IP header begins */
	__u32 transport;    /* where the transport header begins */
	bool v4;
	__u8 flags;         /* of TCP */
	__u8 ttl;
	__u8 type;          /* of ICMP */
	__u8 protocol;      /* as tuple.protocol; of ICMPv6 as of ICMP the one of its family */
};

struct tag {
	__be16 control;
	__be16 kind;
};

/* RFC 8200, 4.3 and 4.6: the length is in units of 8 bytes, without the first. */
struct extension {
	__u8 next;
	__u8 length;
	__u8 rest[6];
};

/* possible tells whether a program sends these flags together: SYN alone or with ACK, RST without SYN and FIN, all else with ACK
 * (RFC 9293, 3.5 to 3.10). */
static __always_inline bool possible(__u8 flags)
{
	if (flags & SYN)
		return !(flags & (FIN | RST));
	if (flags & RST)
		return !(flags & FIN);
	return flags & ACK;
}

/* read_transport reads what follows the headers of IP. rest is how many bytes of the packet that are. */
static __always_inline int read_transport(struct frame *f, void *data, void *at, void *end, __u32 rest)
{
	f->transport = at - data;
	if (f->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = at;
		__u32 length;

		if ((void *)(tcp + 1) > end)
			return rest < sizeof(*tcp) ? BROKEN : FOREIGN;
		length = tcp->doff * 4;
		f->tuple.sport = tcp->source;
		f->tuple.dport = tcp->dest;
		f->flags = ((__u8 *)tcp)[13] & (FIN | SYN | RST | PSH | ACK | URG);
		f->seq = bpf_ntohl(tcp->seq);
		f->ack = bpf_ntohl(tcp->ack_seq);
		if (length < sizeof(*tcp) || length > rest || !tcp->source || !tcp->dest)
			return BROKEN;
		f->payload = f->transport + length;
		f->size = rest - length;
		return possible(f->flags) ? WHOLE : BOGUS;
	}
	if (f->protocol == IPPROTO_UDP) {
		struct udphdr *udp = at;
		__u32 length;

		if ((void *)(udp + 1) > end)
			return rest < sizeof(*udp) ? BROKEN : FOREIGN;
		length = bpf_ntohs(udp->len);
		f->tuple.sport = udp->source;
		f->tuple.dport = udp->dest;
		if (length < sizeof(*udp) || length > rest || !udp->source || !udp->dest)
			return BROKEN;
		f->payload = f->transport + sizeof(*udp);
		f->size = length - sizeof(*udp);
		return WHOLE;
	}
	if (f->protocol == IPPROTO_ICMP || f->protocol == IPPROTO_ICMPV6) {
		__u8 *type = at;

		if (rest < 8)
			return BROKEN; /* although Ethernet may have padded it */
		if ((void *)(type + 8) > end)
			return FOREIGN;
		f->type = *type;
		return ICMP;
	}
	return STRANGE;
}

/* read_ports_of takes the ports of a first fragment, as far as they are in it. */
static __always_inline void read_ports_of(struct frame *f, void *at, void *end, __u32 rest)
{
	__be16 *ports = at;

	if (rest < 2 * sizeof(*ports) || (void *)(ports + 2) > end || (f->protocol != IPPROTO_TCP && f->protocol != IPPROTO_UDP))
		return;
	f->tuple.sport = ports[0];
	f->tuple.dport = ports[1];
}

static __always_inline int read_v4(struct frame *f, void *data, void *at, void *end)
{
	struct iphdr *ip = at;
	__u32 header, total, offset = at - data;

	if ((void *)(ip + 1) > end)
		return FOREIGN;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	f->v4 = true;
	f->ttl = ip->ttl;
	f->protocol = ip->protocol;
	f->tuple.protocol = ip->protocol;
	map_v4(f->tuple.src, ip->saddr);
	map_v4(f->tuple.dst, ip->daddr);
	if (ip->version != 4 || header < sizeof(*ip) || total < header || offset + total > f->length)
		return BROKEN;
	if (at + header > end)
		return FOREIGN;
	at += header;
	if (ip->frag_off & bpf_htons(0x3fff)) {
		if (!(ip->frag_off & bpf_htons(0x1fff)))
			read_ports_of(f, at, end, total - header);
		return PIECE_OF;
	}
	if (ip->protocol == IPPROTO_ICMPV6)
		return STRANGE;
	return read_transport(f, data, at, end, total - header);
}

static __always_inline int read_v6(struct frame *f, void *data, void *at, void *end)
{
	struct ipv6hdr *ip = at;
	__u32 rest, offset = at - data;
	__u8 next;

	if ((void *)(ip + 1) > end)
		return FOREIGN;
	rest = bpf_ntohs(ip->payload_len);
	next = ip->nexthdr;
	f->protocol = next;
	f->tuple.protocol = next;
	f->ttl = ip->hop_limit;
	__builtin_memcpy(f->tuple.src, &ip->saddr, 16);
	__builtin_memcpy(f->tuple.dst, &ip->daddr, 16);
	if (ip->version != 6 || offset + sizeof(*ip) + rest > f->length)
		return BROKEN;
	if (mapped(f->tuple.src) || mapped(f->tuple.dst))
		return BROKEN; /* no address of a packet (RFC 4291, 2.5.5.2): it would be judged as one of IPv4 */
	at = ip + 1;
	for (int i = 0; i < MAX_EXTENSIONS; i++) {
		struct extension *e = at;
		__u32 size;

		if (next == IPPROTO_HOPOPTS && i > 0)
			return BROKEN; /* it comes first (RFC 8200, 4.1): who is sent another would report it to whoever is named as sender */
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS && next != IPPROTO_FRAGMENT)
			break;
		if ((void *)(e + 1) > end)
			return rest < sizeof(*e) ? BROKEN : STRANGE;
		size = next == IPPROTO_FRAGMENT ? sizeof(*e) : (e->length + 1) * 8;
		if (size > rest)
			return BROKEN;
		f->protocol = e->next;
		f->tuple.protocol = e->next;
		if (next == IPPROTO_FRAGMENT) {
			if (!(*(__be16 *)e->rest & bpf_htons(0xfff8)))
				read_ports_of(f, e + 1, end, rest - size);
			return PIECE_OF;
		}
		next = e->next;
		if (at + size > end)
			return STRANGE;
		at += size;
		rest -= size;
	}
	if (next == IPPROTO_ICMP || bpf_ntohs(ip->payload_len) - rest > MAX_EXTENSION_BYTES)
		return STRANGE;
	return read_transport(f, data, at, end, rest);
}

/* read_frame tells what a frame is. After FOREIGN nothing in f may be used, after BURIED only its length. */
static __always_inline int read_frame(struct xdp_md *ctx, struct frame *f)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	void *at = eth + 1;
	__be16 kind;

	if (at > end)
		return FOREIGN;
	kind = eth->h_proto;
	f->length = bpf_xdp_get_buff_len(ctx);
	for (int i = 0; i < MAX_TAGS; i++) {
		struct tag *tag = at;

		if (kind != bpf_htons(ETH_P_8021Q) && kind != bpf_htons(ETH_P_8021AD))
			break;
		if ((void *)(tag + 1) > end)
			return FOREIGN;
		kind = tag->kind;
		at = tag + 1;
	}
	f->network = at - data;
	if (kind == bpf_htons(ETH_P_IP))
		return read_v4(f, data, at, end);
	if (kind == bpf_htons(ETH_P_IPV6))
		return read_v6(f, data, at, end);
	if (kind == bpf_htons(ETH_P_8021Q) || kind == bpf_htons(ETH_P_8021AD))
		return BURIED;
	return FOREIGN;
}

#endif
