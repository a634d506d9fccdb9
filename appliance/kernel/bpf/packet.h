/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reading a packet, and writing one with other addresses. */
#ifndef PACKET_H
#define PACKET_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <stdbool.h>

#include "maps.h"

/* Verdicts of a tcx program (TCX_NEXT and TCX_DROP of linux/bpf.h since 6.6): the next program or the stack, or the end. */
enum { NEXT = -1, DROP = 2 };

/* Flags of TCP, as bits of its byte 13. */
enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16, URG = 32 };

/* A packet as it came, and what is to be written. */
struct packet {
	struct tuple tuple;
	__u32 l4;      /* where the transport header is */
	__u32 payload; /* where the payload is */
	__u32 size;    /* of the payload; what Ethernet padded is none of it */
	bool v4;
	bool first;    /* of the fragments of a datagram: the one with the ports */
	bool later;    /* a fragment behind the first: it has no ports */
	__u32 id;      /* of the datagram that it is a fragment of */
	/* TCP */
	__u8 flags;
	__u8 options;  /* bytes of TCP options */
	__u32 seq;
	__u32 ack;
	__u16 window;
};

static __always_inline void map_v4(__u8 *out, __be32 address)
{
	__u32 *words = (__u32 *)out;

	words[0] = 0;
	words[1] = 0;
	words[2] = bpf_htonl(0xffff);
	words[3] = address;
}

/* mapped tells whether an address of a tuple is one of IPv4. */
static __always_inline bool mapped(const __u8 *address)
{
	return *(const __u64 *)address == 0 && *(const __u32 *)(address + 8) == bpf_htonl(0xffff);
}

static __always_inline void copy_address(void *out, const void *in)
{
	__u64 *to = out;
	const __u64 *from = in;

	to[0] = from[0];
	to[1] = from[1];
}

/* mask_source leaves of an address what limits count: all of IPv4, or its /24; of IPv6 the /64, or the /48 (plan.SourceAddress,
 * plan.SourceNetwork). */
static __always_inline void mask_source(__u8 *address, bool network)
{
	if (mapped(address)) {
		if (network)
			address[15] = 0;
		return;
	}
	*(__u64 *)(address + 8) = 0;
	if (network)
		*(__u16 *)(address + 6) = 0;
}

/* copy_words is copy_address where addresses are aligned to 4 bytes. */
static __always_inline void copy_words(void *out, const void *in)
{
	__u32 *to = out;
	const __u32 *from = in;

	for (int i = 0; i < 4; i++)
		to[i] = from[i];
}

/* bounded gives n, so that the verifier believes that it is 1 to most; 0 when it is not. Compilers like to turn both
 * comparisons into one that the verifier cannot follow. */
static __always_inline __u32 bounded(__u32 n, __u32 most)
{
	asm volatile("" : "+r"(n));
	if (n > most)
		return 0;
	asm volatile("" : "+r"(n));
	if (n < 1)
		return 0;
	asm volatile("" : "+r"(n));
	return n;
}

static __always_inline void left_because(__u32 why)
{
	__u64 *n = bpf_map_lookup_elem(&left, &why);

	if (n)
		(*n)++;
}

static __always_inline int leave(__u32 why)
{
	left_because(why);
	return NEXT;
}

static __always_inline int drop(__u8 protocol, __u32 why)
{
	__u32 i = protocol == IPPROTO_UDP ? DROP_COUNT + why : why;
	__u64 *n = bpf_map_lookup_elem(&drops, &i);

	if (n)
		(*n)++;
	return DROP;
}

enum { PARSED = 0, NOT_OURS = 1, MALFORMED = 2, FRAGMENT = 3, EXTENSION = 4, CONTROL = 5 /* ICMP */ };

/* read_ports reads the UDP header of a first fragment; of others the ports stay 0. */
static __always_inline void read_ports(struct packet *p, void *transport, void *end)
{
	struct udphdr *udp = transport;
	__u32 length;

	if ((void *)(udp + 1) > end)
		return;
	length = bpf_ntohs(udp->len);
	p->first = p->tuple.protocol == IPPROTO_UDP && length >= sizeof(*udp);
	p->tuple.sport = udp->source;
	p->tuple.dport = udp->dest;
	p->payload = p->l4 + sizeof(*udp);
	p->size = length - sizeof(*udp);
}

/* parse reads the headers. Nothing in p may be used unless it says PARSED; after FRAGMENT the tuple is there as far as it is
 * known. */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	void *data, *end;
	__u32 total;

	/* Headers may lie in pages: 14 of Ethernet, 40 of IPv6, 60 of TCP. A shorter packet is taken whole. */
	if (skb->data_end - skb->data < ETH_HLEN + 40 + 60 && skb->data_end - skb->data < skb->len)
		bpf_skb_pull_data(skb, skb->len < ETH_HLEN + 40 + 60 ? skb->len : ETH_HLEN + 40 + 60);
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return NOT_OURS; /* the stack counts it */
		p->v4 = true;
		p->tuple.protocol = ip->protocol;
		map_v4(p->tuple.src, ip->saddr);
		map_v4(p->tuple.dst, ip->daddr);
		if (ip->protocol == IPPROTO_ICMP)
			return CONTROL;
		if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
			return NOT_OURS;
		if (ip->frag_off & bpf_htons(0x3fff)) {
			p->id = ip->id;
			p->l4 = ETH_HLEN + sizeof(*ip);
			p->later = ip->frag_off & bpf_htons(0x1fff);
			if (ip->ihl == 5 && !p->later)
				read_ports(p, ip + 1, end);
			return FRAGMENT;
		}
		if (ip->version != 4 || ip->ihl < 5)
			return NOT_OURS;
		if (ip->ihl != 5)
			return EXTENSION;
		total = bpf_ntohs(ip->tot_len);
		p->l4 = ETH_HLEN + sizeof(*ip);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end)
			return NOT_OURS;
		p->v4 = false;
		p->tuple.protocol = ip->nexthdr;
		__builtin_memcpy(p->tuple.src, &ip->saddr, 16);
		__builtin_memcpy(p->tuple.dst, &ip->daddr, 16);
		if (mapped(p->tuple.src) || mapped(p->tuple.dst))
			return NOT_OURS; /* no address of a packet (RFC 4291, 2.5.5.2): with it, this one would be of a session in IPv4 */
		if (ip->nexthdr == IPPROTO_FRAGMENT) {
			__u8 *fragment = (void *)(ip + 1); /* RFC 8200, 4.5: next header, 0, offset */

			if ((void *)(fragment + 8) > end)
				return NOT_OURS;
			p->tuple.protocol = fragment[0];
			p->id = *(__u32 *)(fragment + 4);
			p->l4 = ETH_HLEN + sizeof(*ip) + 8;
			if (fragment[0] != IPPROTO_TCP && fragment[0] != IPPROTO_UDP)
				return NOT_OURS;
			p->later = *(__be16 *)(fragment + 2) & bpf_htons(0xfff8);
			if (!p->later)
				read_ports(p, fragment + 8, end);
			return FRAGMENT;
		}
		if (ip->nexthdr == IPPROTO_HOPOPTS || ip->nexthdr == IPPROTO_DSTOPTS || ip->nexthdr == IPPROTO_ROUTING)
			return EXTENSION;
		if (ip->nexthdr == IPPROTO_ICMPV6)
			return CONTROL;
		if (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP)
			return NOT_OURS;
		total = bpf_ntohs(ip->payload_len) + sizeof(*ip);
		p->l4 = ETH_HLEN + sizeof(*ip);
	} else {
		return NOT_OURS;
	}
	/* A batch of GRO or GSO beyond 64 KiB has no length in its header (BIG TCP). */
	if (skb->gso_segs > 1 && total == (p->v4 ? 0 : sizeof(struct ipv6hdr)))
		total = skb->len - ETH_HLEN;
	total += ETH_HLEN;
	if (total > skb->len)
		return MALFORMED;
	if (p->tuple.protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = data + p->l4;
		__u32 length;

		if ((void *)(tcp + 1) > end)
			return MALFORMED;
		length = tcp->doff * 4;
		p->tuple.sport = tcp->source;
		p->tuple.dport = tcp->dest;
		p->flags = ((__u8 *)tcp)[13];
		p->seq = bpf_ntohl(tcp->seq);
		p->ack = bpf_ntohl(tcp->ack_seq);
		p->window = bpf_ntohs(tcp->window);
		p->payload = p->l4 + length;
		if (length < sizeof(*tcp) || p->payload > total)
			return MALFORMED;
		p->options = length - sizeof(*tcp);
	} else {
		struct udphdr *udp = data + p->l4;
		__u32 length;

		if ((void *)(udp + 1) > end)
			return MALFORMED;
		length = bpf_ntohs(udp->len);
		p->tuple.sport = udp->source;
		p->tuple.dport = udp->dest;
		p->payload = p->l4 + sizeof(*udp);
		if (length < sizeof(*udp) || p->l4 + length > total)
			return MALFORMED;
		total = p->l4 + length;
	}
	p->size = total - p->payload;
	if (p->tuple.sport == 0 || p->tuple.dport == 0)
		return MALFORMED;
	return PARSED;
}

/* Ones' complement sums of 32 bits (RFC 1071). */
static __always_inline __u32 sum_add(__u32 a, __u32 b)
{
	__u32 sum = a + b;

	return sum + (sum < a);
}

/* sum_change is the difference that replacing from by to makes. */
static __always_inline __u32 sum_change(__be32 from, __be32 to)
{
	return sum_add(~from, to);
}

static __always_inline __u16 sum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* apply_sum changes a checksum in a header. */
static __always_inline __sum16 apply_sum(__sum16 check, __u32 difference)
{
	return ~sum_fold(sum_add((__u16)~check, difference));
}

/* Where the checksum is in a transport header. */
#define TCP_CHECK __builtin_offsetof(struct tcphdr, check)
#define UDP_CHECK __builtin_offsetof(struct udphdr, check)

/* rewrite_ip gives the IP header the addresses of the other side, and takes one hop. False: it was the last. */
static __always_inline bool rewrite_ip(void *data, void *end, const struct packet *p, const __u8 *src, const __u8 *dst, __u32 addresses)
{
	if (p->v4) {
		struct iphdr *ip = data + ETH_HLEN;

		if ((void *)(ip + 1) > end || ip->ttl <= 1)
			return false;
		ip->saddr = *(__be32 *)(src + 12);
		ip->daddr = *(__be32 *)(dst + 12);
		/* The time to live is the upper byte of a word that loses 1. */
		ip->check = apply_sum(ip->check, sum_add(addresses, sum_change(bpf_htons(0x0100), 0)));
		ip->ttl--;
		return true;
	}
	struct ipv6hdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) > end || ip->hop_limit <= 1)
		return false;
	__builtin_memcpy(&ip->saddr, src, 16);
	__builtin_memcpy(&ip->daddr, dst, 16);
	ip->hop_limit--;
	return true;
}

/* set_ip_size writes the length of what follows the Ethernet header. */
static __always_inline bool set_ip_size(struct __sk_buff *skb, bool v4, __u32 size)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (v4) {
		struct iphdr *ip = data + ETH_HLEN;
		__be16 length = bpf_htons(size);

		if ((void *)(ip + 1) > end)
			return false;
		ip->check = apply_sum(ip->check, sum_change(ip->tot_len, length));
		ip->tot_len = length;
		return true;
	}
	struct ipv6hdr *ip = data + ETH_HLEN;

	if ((void *)(ip + 1) > end)
		return false;
	ip->payload_len = bpf_htons(size - sizeof(*ip));
	return true;
}

#endif
