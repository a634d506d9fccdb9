/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the programs and package kernel share: every struct here has a twin in bpf_bpfel.go, and TestLayout compares them
 * byte by byte through BTF. A change of a struct in a pinned map needs a new LAYOUT. */
#ifndef LAYOUT_H
#define LAYOUT_H

#include <linux/types.h>

#define LAYOUT 2

/* One direction of a session as its packets arrive. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d (RFC 4291, 2.5.5.2);
 * addresses and ports are in network order. */
struct tuple {
	__u8 src[16];
	__u8 dst[16];
	__be16 sport;
	__be16 dport;
	__u8 protocol;
	__u8 zero[3];
} __attribute__((aligned(8))); /* addresses are copied in two words each */

/* Where the session of a tuple is. A slot is used again: a ref of another generation leads to nothing. */
struct ref {
	__u32 slot;       /* index into sessions */
	__u32 generation; /* of that slot */
	__u32 from;       /* CLIENT or ORIGIN: which side sends packets of this tuple */
};

enum { CLIENT = 0, ORIGIN = 1 };

/* Flags of a side. */
enum {
	SIDE_FIN = 1,      /* it sent FIN: its last sequence number is in fin */
	SIDE_FINACKED = 2, /* and the other side has acknowledged that */
	SIDE_SPOKE = 4,    /* it sent payload */
	SIDE_PROVEN = 8,   /* the client: it acknowledged what only it was told, so its address is real */
};

/* One end of a session. All sequence numbers are in the client's view, in host order: what the client itself sees. */
struct side {
	__u8 address[16]; /* the far end */
	__u8 own[16];     /* the box's address towards it: the edge address, or the source address */
	__be16 port;
	__be16 own_port;
	__u32 ifindex;    /* the way to it */
	__u32 next;       /* behind the last byte that it sent */
	__u32 ack;        /* the next byte that it expects of the other side */
	__u32 window;     /* the most bytes that it offered to take */
	__u32 fin;        /* behind its FIN */
	__u32 flags;
	__u8 scale;       /* of its windows */
	__u8 zero[3];
	__u64 bytes;      /* payload that it sent */
	__u64 packets;
	__u64 stalled;    /* since when it takes no byte; 0: it does */
};

enum { STATE_FREE = 0, STATE_SYN = 1, STATE_OPEN = 2, STATE_CLOSED = 3 };

/* Flags of a session. */
enum {
	SESSION_V4 = 1,
	SESSION_HEADED = 2,      /* TCP: the origin has acknowledged the PROXY header; UDP: it was sent */
	SESSION_TRANSPARENT = 4,
	SESSION_LONG = 8,        /* the origin closed first, and remembers the port for a minute (RFC 9293, TIME-WAIT) */
	SESSION_KILLED = 16,     /* whoever still sends is answered with RST */
	SESSION_ANSWERED = 32,   /* UDP: the origin answered since the client's last datagram */
	SESSION_FIRST_ONLY = 64, /* UDP: the header goes in front of the first datagram alone */
	SESSION_AGAIN = 128,     /* TCP: the origin may still be in TIME-WAIT of the last session with this port */
	SESSION_COUNTED = 256,   /* TCP: among the sessions of its client's address and network, see holders */
};

/* One session or flow: a slot of the array sessions, 264 bytes. Times are CLOCK_MONOTONIC in ns. */
struct session {
	struct side side[2];
	__u64 id;
	__u64 started;
	__u64 active;      /* when payload last moved, or when it was closed */
	__u64 header_sent; /* the last time that the PROXY header left */
	__u32 generation;
	__u32 service;     /* its number */
	__u32 origin;      /* its number */
	__u32 isn;         /* the client's initial sequence number */
	__u32 shift;       /* added to the client's numbers for the origin, besides the length of the header */
	__u32 addresses;   /* ones' complement difference of the addresses, client to origin (RFC 1624) */
	__u32 ports;       /* the same of the ports */
	__u32 state;
	__u32 flags;
	__u32 wire_in;     /* UDP: bytes on the wire while the client is unproven */
	__u32 wire_out;
	__u32 place;       /* number of the origin that the limit counts for */
	__u8 protocol;
	__u8 header;       /* HEADER_* */
	__u8 header_length;
	__u8 reason;       /* why it was closed: a status.Reason */
	__u8 rounds;       /* UDP: how often the client spoke after an answer */
	__u8 zero;
	__u16 amplification; /* UDP: bytes out for each byte in, towards a client that is unproven; 0: no limit */
};

enum { HEADER_NONE = 0, HEADER_V1 = 1, HEADER_V2 = 2, HEADER_SPP = 3 };

/* What happened, for whoever reads the ring buffer. */
struct event {
	__u32 type;
	__u32 slot;
	struct session session;
};

enum { EVENT_BEGIN = 1, EVENT_ANSWERED = 2, EVENT_END = 3, EVENT_PROVEN = 4 /* of a session that is counted by source */ };

/* The tables of a plan. There are two of each; config.generation says which is in force, so that a new plan is complete
 * before the first packet sees it. */
struct address_key {
	__u32 prefixlen;
	__u8 address[16];
};

#define PAGES_OF_SET 512 /* TCP's 256, then UDP's */
#define PORTS_OF_PAGE 256

struct route {
	__u32 service;   /* index + 1; 0: no service */
	__u16 first;     /* the route's first port, for origins with a port range */
	__u16 zero;
};

enum { PATH_TCP = 1, PATH_UDP = 2 };

struct service {
	__u32 number; /* stays while the name does: counters and sessions have it */
	__u32 pool;   /* index */
	__u32 max_sessions; /* 0: no limit, as for the next six */
	__u32 max_flows;
	__u32 new_flows;    /* a second */
	__u32 amplification; /* at most 65535 */
	__u32 max_per_address; /* sessions */
	__u32 max_per_network;
	__u32 new_per_address; /* sessions a second */
	__u8 path;          /* PATH_*: what it leaves to these programs */
	__u8 tcp_header;
	__u8 udp_header;
	__u8 flags;         /* SESSION_TRANSPARENT, SESSION_FIRST_ONLY */
};

/* Whom a limit of single sources counts: an address (of IPv6 its /64), or a network (IPv4 /24, IPv6 /48), of the clients of one
 * service. The other bits are 0. */
struct source {
	__u8 address[16];
	__u32 service; /* number */
	__u32 network; /* 1: a network */
} __attribute__((aligned(8)));

/* The sessions of a source. */
struct holder {
	__u32 sessions;
	__u32 others; /* of the user path */
};

/* How many seconds' worth of new sessions of one address may come at once; as in appliance/proxy/crowd.go. */
#define BURST_OF_RATE 5

enum { CHOICE_HASH = 0, CHOICE_TURNS = 1, CHOICE_LEAST = 2 };

#define MAX_MEMBERS 64 /* of a pool; one with more is left to the user path */

struct pool {
	__u32 first; /* of its members */
	__u32 count; /* at most MAX_MEMBERS */
	__u32 turns; /* first of its turns */
	__u32 turn_count;
	__u32 choice;
	__u32 number; /* stays while the name does: where its turn is kept */
};

#define MAX_SOURCES 8 /* of a member; a power of two */

enum { MEMBER_NO = 0, MEMBER_YES = 1, MEMBER_TRY = 2 /* the user path tries whether it is up again */ };

/* An address of an origin. */
struct member {
	__u8 address[16];
	__u8 source[MAX_SOURCES][16]; /* what the box calls itself towards it: the first `sources` of them */
	__u64 key;        /* for rendezvous hashing */
	__u64 weight;
	__u32 ifindex;    /* the way to it; 0: unknown, or none that packets can be sent */
	__u32 origin;     /* its number */
	__u32 limit;      /* of sessions and flows of all addresses of this origin; 0: none */
	__u32 others;     /* those of the user path */
	__u32 place;      /* number of the origin that the limit counts for */
	__u16 first;      /* ports as in plan.Origin */
	__u16 last;
	__u32 sources;    /* at least 1 where there is a way */
	__u32 state;      /* MEMBER_* */
};

/* What is true for all. */
struct configuration {
	__u32 layout;
	__u32 generation;   /* 0 or 1: which tables are in force */
	__u32 off;          /* not 0: what is new is left to the user path */
	__u32 bans;         /* how many */
	__u32 slots;        /* of sessions */
	__u32 max_sessions;
	__u32 max_flows;
	__u32 max_flows_per_source;
	__u32 new_flows;    /* a second */
	__u32 first_port;   /* of the source ports that are ours */
	__u32 last_port;
	__u32 half_open;    /* at most so many: what is beyond goes to the user path, whose kernel answers with SYN cookies */
};

struct total {
	__u64 fresh;    /* slots that were never used begin here */
	__u64 sessions;
	__u64 flows;
	__u64 lost;     /* events for which there was no room */
	__u64 second;   /* of the count of new flows */
	__u64 new_flows;
	__u64 half_open; /* TCP sessions whose client has not proven its address yet */
	__u64 other_sessions; /* of the user path, which writes them here */
	__u64 other_flows;
};

/* Counts by number of a service: its sessions and flows now. By number of an origin: sessions has the sessions and flows of
 * that address, flows those of all addresses that share its limit, new_flows how often no source port was left towards it. */
struct count {
	__u64 sessions;
	__u64 flows;
	__u64 second;
	__u64 new_flows;
};

struct interface {
	__u32 edge;  /* not 0: new clients come in here */
	__u32 reply; /* the interface that leads back to them */
	__u32 mtu;
	__u32 zero;
};

/* Why a packet was left to the rest of the system: the user path takes it there, and counts what it refuses. */
enum {
	LEFT_OTHER = 0,    /* not TCP or UDP, or not of a session */
	LEFT_OFF,
	LEFT_SERVICE,      /* no service, or one of the user path */
	LEFT_BANNED,
	LEFT_LIMIT,
	LEFT_OPTIONS,      /* TCP options that only an end of the connection can answer, or data in the SYN */
	LEFT_ORIGIN,       /* none that is free, or the user path is to try it */
	LEFT_FAMILY,       /* the origin is of the other IP version */
	LEFT_PORT,         /* no source port */
	LEFT_FULL,         /* no slot */
	LEFT_EXTENSION,    /* IPv6 extension headers, IP options */
	LEFT_HALF_OPEN,    /* many SYNs without an answer: perhaps a flood */
	LEFT_COUNT,
};

/* Why a packet was dropped. */
enum {
	DROP_FRAGMENT = 0,
	DROP_MALFORMED,
	DROP_WINDOW,       /* outside what the other side can take: injected, or from another life */
	DROP_TTL,
	DROP_HEADER,       /* no room for the PROXY header */
	DROP_OVERSIZE,
	DROP_AMPLIFICATION,
	DROP_SPP,
	DROP_ICMP,         /* told the flow that the origin is not there */
	DROP_INTERNAL,
	DROP_BOGON,        /* it claims to come from an edge address */
	DROP_COUNT,
};

/* Asked of the program that ends sessions. */
struct ending {
	__u32 slot;
	__u32 generation;
	__u32 reason;
	__u32 flags;  /* SESSION_KILLED */
	__u32 forget; /* not 0: the tuples and the slot are given back */
	__u32 done;   /* answer: 1 when there was such a session */
};

/* Sessions that the user path has more, or less, of a client of a service. */
struct crowding {
	__u8 address[16];
	__u32 service; /* number */
	__s32 n;
	__u32 new_per_address;
	__u32 zero;
} __attribute__((aligned(8)));

/* The status.Reason that a session ends with here; TestConstants compares them. */
enum {
	REASON_NORMAL = 0,
	REASON_CLIENT_RESET = 1,
	REASON_ORIGIN_RESET = 2,
	REASON_ORIGIN_REFUSED = 8,
	REASON_CONNECT_TIMEOUT = 9,
	REASON_NETWORK_UNREACHABLE = 10,
};

#endif
