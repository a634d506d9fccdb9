/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the shield and package kernel share, and its maps. They are pinned with those of sessions: the filter stays in force
 * while no process is there. */
#ifndef GUARD_H
#define GUARD_H

#include "maps.h"

#define SECOND 1000000000ULL

/* Kinds of traffic that attacks are made of, as status.Vector has them. */
enum {
	VECTOR_SYN = 0,
	VECTOR_ACK,
	VECTOR_RST,
	VECTOR_FIN,
	VECTOR_FLAGS,
	VECTOR_UDP,
	VECTOR_REFLECTION,
	VECTOR_QUERY,
	VECTOR_FRAGMENT,
	VECTOR_ICMP,
	VECTOR_OTHER,
	VECTOR_COUNT,
};

/* The status.Reason that a packet is dropped for; TestConstants compares them. */
enum {
	WHY_NO_SERVICE = 16,
	WHY_BANNED = 22,
	WHY_RATE = 29,
	WHY_FRAGMENT = 37,
	WHY_MALFORMED = 38,
	WHY_FLAGS = 44,
	WHY_BOGON = 45,
	WHY_REFLECTION = 46,
	WHY_RULE = 50,
	WHY_NO_SESSION = 51,
	WHY_COOKIE = 52,
	WHY_ADDRESS_RATE = 53,
	WHY_NETWORK_RATE = 54,
	WHY_NEW_CLIENTS = 55,
	WHY_PROTOCOL = 56,
	WHY_COUNT = 64,
};

enum { SHIELD_OFF = 0, SHIELD_ON = 1, SHIELD_MONITOR = 2 };

enum { FRAGMENTS_LIMIT = 0, FRAGMENTS_PASS = 1, FRAGMENTS_DROP = 2 };

/* What is true for all edge addresses. */
struct shield_configuration {
	__u32 mode;
	__u32 fragments;
	__u32 bogons; /* not 0: drop sources that nobody on the internet has */
	__u32 rules;  /* not 0: some service has packet rules */
	__u32 limits; /* not 0: packets or bytes of sources are bounded */
};

enum {
	GUARD_REFLECTORS = 1, /* drop what comes from the ports of reflectors */
};

/* How fast something may come. Both are 0 where there is no limit. */
struct rate {
	__u64 cost;  /* of one, in ns / 1024 */
	__u64 depth; /* how much may come at once, in ns */
};

/* What holds for a service, beside its entry in the table of services. */
struct guard {
	__u32 number;
	__u32 flags;
	__u32 first_rule;
	__u32 rules;
	struct rate flows;   /* that begin */
	struct rate clients; /* sessions and flows that begin */
	__u32 syn_rate; /* more SYNs a second arm SYN cookies; 0: nothing does */
	__u32 room;     /* flows that there may be when a client begins one who is not known; 0: any number */
};

#define SYN_ALWAYS 4294967295 /* armed in peace, too */

enum { RULE_DROP = 0, RULE_PASS = 1, RULE_COUNT = 2 /* what it would drop */ };

#define RULE_BYTES 16
#define MAX_RULES 16 /* of a service */

/* A packet rule matches when everything that it names does. */
struct packet_rule {
	__u32 number; /* stays while the names of service and rule do: its hits are counted there */
	__u16 shortest; /* bytes of payload */
	__u16 longest;
	__u16 first_port; /* of the source */
	__u16 last_port;
	__u8 lowest_ttl;
	__u8 highest_ttl;
	__u8 protocol; /* IPPROTO_TCP, IPPROTO_UDP; 0: both */
	__u8 action;
	__u8 length;   /* of bytes that the payload begins with */
	__u8 zero[3];
	__u8 bytes[RULE_BYTES];
	__u8 mask[RULE_BYTES];
};

/* How much of something came in this second, and until when that was too much. Times are CLOCK_MONOTONIC in ns. */
struct gauge {
	__u64 second;
	__u64 count;
	__u64 until;
};

/* What presses on a service. */
struct pressure {
	struct gauge strays;      /* TCP without a session, an estimate */
	struct gauge reflections; /* datagrams from ports of reflectors that a client may have by chance */
	__u64 flows;              /* until when those that began have used up the budget */
	__u64 clients;
	struct gauge syns;        /* first packets of connections; until: cookies answer them */
};

struct vector_key {
	__u32 service; /* its number, or NO_SERVICE */
	__u32 vector;
};

#define NO_SERVICE 4294967295

struct vector_count {
	__u64 packets;
	__u64 bytes;
	__u64 dropped;
	__u64 would;
};

#define SAMPLE_BYTES 128

/* A packet, for whoever wants to see what an attack is made of. */
struct sample {
	__u64 time;
	__u32 ifindex;
	__u32 service; /* number */
	__u32 vector;
	__u32 reason;  /* a status.Reason; 0: it passed */
	__u32 length;  /* of the frame */
	__u32 size;    /* of what is here of it */
	__u32 would;   /* not 0: mode monitor let it pass */
	__u32 zero;
	__u8 bytes[SAMPLE_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct shield_configuration);
} shield_config SEC(".maps");

enum { COUNT_TCP = 0, COUNT_UDP = 1, COUNT_ICMP = 2, COUNT_OTHER = 3, COUNT_PROTOCOLS = 4 };

/* Packets dropped, by protocol and reason; behind them those that would have been. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * COUNT_PROTOCOLS * WHY_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} shield_drops SEC(".maps");

/* Both have an entry for each service of the plan: those of others are removed with its tables. So nobody can push a count or a
 * gauge out by making others. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 65536); /* services of settings, and the vectors that packets for one can have */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct vector_key);
	__type(value, struct vector_count);
} vectors SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32); /* number of a service */
	__type(value, struct pressure);
} pressures SEC(".maps");

/* What passes only a little of, by core. */
enum { TRICKLE_BANNED = 0, TRICKLE_NO_SERVICE, TRICKLE_FRAGMENTS, TRICKLE_ECHO, TRICKLE_ERRORS, TRICKLE_ADDRESSES, TRICKLE_NETWORKS, TRICKLE_SAMPLES, TRICKLE_COUNT = TRICKLE_SAMPLES + VECTOR_COUNT };

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, TRICKLE_COUNT);
	__type(key, __u32);
	__type(value, struct gauge);
} trickles SEC(".maps");

#define RULE_NUMBERS 4096

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, RULE_NUMBERS);
	__type(key, __u32);
	__type(value, __u64);
} rule_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} samples SEC(".maps");

TABLE(guards, struct guard); /* in the order of services */
TABLE(packet_rules, struct packet_rule);

/* begin_second counts from 0 again when a second is over. Another core may have begun one a moment after now. */
static __always_inline void begin_second(struct gauge *g, __u64 now)
{
	if ((__s64)(now - g->second) < (__s64)SECOND)
		return;
	g->second = now;
	g->count = 0;
}

#endif
