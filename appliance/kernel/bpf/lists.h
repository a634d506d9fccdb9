/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Which rule a source address falls under: one class for allow and deny, lists, AS numbers and countries together.
 *
 * Rules by hand (allow, deny, bans, and what the box depends on) change one by one, in place: a trie, which is asked only where
 * marks say that it knows something near the address. Lists come as a whole: list_tables has two, and list_state.generation
 * says which counts. A table is an array of lines of 64 bytes that package kernel fills (lists_table.go), which draws:
 *
 *   line 0               struct list_head
 *   lines 1 to 4096      IPv4: a number for each /16: its class, or LIST_DEEP | the first line of its block
 *   a block, 5 lines     a byte for each /24: its class, or LIST_LEAF; then a bit for each, whether it is a leaf, and in one
 *                        word where its leaves begin (32 bits) and how many are before each word of bits (a byte for each)
 *   a leaf, 5 words      a bit for each address, which of two classes it has; or where a byte for each begins
 *   a tree               IPv6: where the class of networks of 64 bits changes, in nodes of eight, so that a million take seven
 *                        lines; with a number for each: the class, or LIST_DEEP | the word where the addresses of that network begin
 */
#ifndef LISTS_H
#define LISTS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "maps.h"

#define LIST_ROOT 1       /* line of the first number for a /16 */
#define LIST_DEEP 0x80000000u
#define LIST_LEAF 255
#define LIST_LEVELS 8 /* of the tree, at most: 8 * 9^7 places */
#define LIST_WITHIN 65535 /* places within one network of 64 bits, at most */
#define LIST_CLASSES 256

/* Classes that no table has, as in package lists. */
enum { CLASS_NONE = 0, CLASS_PROTECTED = 1, CLASS_ALLOWED = 2, CLASS_BANNED = 3, CLASS_DENIED = 4 };

/* What becomes of a class. */
enum { CLASS_UNKNOWN = 0, CLASS_PASS = 1, CLASS_DROP = 2 };

struct list_line {
	__u64 word[8];
};

struct list_head {
	__u32 depth;  /* of the tree; 0: no IPv6 */
	__u32 values; /* line of its numbers */
	__u32 level[LIST_LEVELS]; /* first line of each level, the root's first */
};

struct list_state {
	__u32 generation; /* 0 or 1: which table is in force */
	__u32 present;    /* not 0: there is one */
	__u32 rules;      /* in the trie */
	__u32 zero;
};

/* Verdict and reason of a class. Those of a table are at 256 * its generation + class. */
struct list_verdict {
	__u8 verdict; /* CLASS_PASS, CLASS_DROP */
	__u8 reason;  /* a status.Reason */
	__u8 zero[2];
};

/* For the program that answers for one address: package kernel compares it with its model, and measures. */
struct list_query {
	__u8 address[16] __attribute__((aligned(8)));
	__u32 v4;
	__u32 repeat; /* 0: this address alone; otherwise as many random ones */
	__u64 seed;   /* of those, not 0 */
	__u64 found;  /* answer: what list_class said, or how many of the random ones have a class */
	__u64 took;   /* answer: ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_INNER_MAP | BPF_F_MMAPABLE);
		__uint(key_size, sizeof(__u32));
		__uint(value_size, sizeof(struct list_line));
	});
} list_tables SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct list_state);
} list_states SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2 * LIST_CLASSES);
	__type(key, __u32);
	__type(value, struct list_verdict);
} classes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2 * LIST_CLASSES);
	__type(key, __u32);
	__type(value, __u64);
} class_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 32768);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct address_key);
	__type(value, __u32); /* class */
} list_rules SEC(".maps");

/* A bit for each /16 of IPv4 in which there are rules; for each /16 of IPv6 in which there are some shorter than /32; and for
 * the others of IPv6 by a hash of their first 32 bits. */
#define MARKS 1024 /* words of each */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3 * MARKS);
	__type(key, __u32);
	__type(value, __u64);
} list_marks SEC(".maps");

static __always_inline __u64 list_word(void *table, __u32 at)
{
	__u32 index = at >> 3;
	struct list_line *line = bpf_map_lookup_elem(table, &index);

	return line ? line->word[at & 7] : 0;
}

static __always_inline __u32 list_number(void *table, __u32 at)
{
	return list_word(table, at >> 1) >> ((at & 1) * 32);
}

static __always_inline __u8 list_byte(void *table, __u32 at)
{
	return list_word(table, at >> 3) >> ((at & 7) * 8);
}

/* How many bits are set. */
static __always_inline __u32 list_ones(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

/* Addresses are in host order from here on. One that is in no leaf costs two lines, of which the first is often in a cache. */
static __noinline __u32 list_class4(void *table, __u32 address)
{
	__u32 block = list_number(table, LIST_ROOT * 16 + (address >> 16));
	__u32 net = address >> 8 & 255, host = address & 255;
	__u64 bits, kinds;
	__u32 class, leaf;

	if (!(block & LIST_DEEP))
		return block;
	block &= ~LIST_DEEP;
	class = list_byte(table, block * 64 + net);
	if (class != LIST_LEAF)
		return class;
	bits = list_word(table, block * 8 + 32 + (net >> 6)) & ((1ULL << (net & 63)) - 1);
	kinds = list_word(table, block * 8 + 36);
	leaf = kinds + 5 * (list_ones(bits) + (kinds >> (32 + (net >> 6) * 8) & 255));
	kinds = list_word(table, leaf + 4);
	if (kinds >> 32)
		return list_byte(table, (kinds >> 32) * 8 + host);
	return kinds >> (list_word(table, leaf + (host >> 6)) >> (host & 63) & 1) * 8 & 255;
}

/* 1 when a is not greater than b. There is no branch in it: the processor would guess wrong, and the verifier go both ways. */
static __always_inline __u32 not_greater(__u64 a, __u64 b)
{
	__u64 borrow = (~b & a) | ((~b | a) & (b - a));

	barrier_var(borrow);
	borrow >>= 63;
	barrier_var(borrow);
	return 1 ^ borrow;
}

/* The class of an address within a network of 64 bits: how many places, the places, then a byte for each. */
static __always_inline __u32 list_within(void *table, __u32 at, __u64 low)
{
	__u32 count = list_word(table, at) & LIST_WITHIN, first = 0, left = count;

	for (int i = 0; i < 16 && left > 1; i++) {
		__u32 half = left / 2;

		first += half * not_greater(list_word(table, at + 1 + first + half), low);
		left -= half;
	}
	return list_byte(table, (at + 1 + count) * 8 + first);
}

static __noinline __u32 list_class6(void *table, __u64 high, __u64 low)
{
	__u32 zero = 0, node = 0, class;
	struct list_head *head = bpf_map_lookup_elem(table, &zero);

	if (!head || !head->depth)
		return CLASS_NONE;
	if (high == ~0ULL)
		high--; /* what is behind the last place is filled with this; multicast anyway */
	for (int i = 0; i < LIST_LEVELS; i++) {
		__u32 index = head->level[i] + node;
		struct list_line *line = bpf_map_lookup_elem(table, &index);
		__u32 rank = 0;

		if (!line)
			return CLASS_NONE;
		for (int j = 0; j < 8; j++)
			rank += not_greater(line->word[j], high);
		if (i + 1 == head->depth) {
			node = node * 8 + rank;
			break;
		}
		node = node * 9 + rank;
	}
	class = list_number(table, head->values * 16 + node - 1);
	return class & LIST_DEEP ? list_within(table, class & ~LIST_DEEP, low) : class;
}

static __always_inline bool list_marked(__u32 table, __u32 bit)
{
	__u32 at = table * MARKS + (bit >> 6 & (MARKS - 1));
	__u64 *word = bpf_map_lookup_elem(&list_marks, &at);

	return word && *word >> (bit & 63) & 1;
}

/* The class by the rules of hand. source has its words in network order. */
static __noinline __u32 list_rule(const __u8 *source, bool v4)
{
	struct address_key key = {.prefixlen = 128};
	__u32 first, *class;

	__builtin_memcpy(key.address, source, 16);
	first = bpf_ntohl(*(__be32 *)(key.address + (v4 ? 12 : 0)));
	if (v4 ? !list_marked(0, first >> 16) :
	    !list_marked(1, first >> 16) && !list_marked(2, (first * 0x9e3779b1u) >> 16))
		return CLASS_NONE;
	class = bpf_map_lookup_elem(&list_rules, &key);
	return class ? *class : CLASS_NONE;
}

/* Where in classes the rule by hand is that a source falls under; 0: under none. IPv4 addresses are mapped. */
static __always_inline __u32 list_by_hand(const __u8 *source, bool v4)
{
	__u32 zero = 0;
	struct list_state *state = bpf_map_lookup_elem(&list_states, &zero);

	return state && state->rules ? list_rule(source, v4) : CLASS_NONE;
}

/* The same of the lists. */
static __always_inline __u32 list_by_table(const __u8 *source, bool v4)
{
	__u32 zero = 0, generation, class;
	struct list_state *state = bpf_map_lookup_elem(&list_states, &zero);
	__be64 half[2];
	void *table;

	if (!state || !state->present)
		return CLASS_NONE;
	generation = state->generation & 1;
	table = bpf_map_lookup_elem(&list_tables, &generation);
	if (!table) { /* the tables have changed since */
		generation ^= 1;
		table = bpf_map_lookup_elem(&list_tables, &generation);
	}
	if (!table)
		return CLASS_NONE;
	__builtin_memcpy(half, source, 16);
	if (v4)
		class = list_class4(table, bpf_be64_to_cpu(half[1]));
	else
		class = list_class6(table, bpf_be64_to_cpu(half[0]), bpf_be64_to_cpu(half[1]));
	return class ? generation * LIST_CLASSES + (class & 255) : CLASS_NONE;
}

/* Of both. Rules by hand come first. */
static __always_inline __u32 list_class(const __u8 *source, bool v4)
{
	__u32 class = list_by_hand(source, v4);

	return class ? class : list_by_table(source, v4);
}

/* Counts one more of a class, and gives what becomes of it; null for none. */
static __always_inline struct list_verdict *list_verdict(__u32 class)
{
	__u64 *hits;

	if (!class)
		return 0;
	hits = bpf_map_lookup_elem(&class_hits, &class);
	if (hits)
		(*hits)++;
	return bpf_map_lookup_elem(&classes, &class);
}

/* Asks for a random address: of all of IPv4, or of 2000::/3. */
static int list_ask(__u32 index, struct list_query *q)
{
	q->seed ^= q->seed << 13; /* xorshift64 */
	q->seed ^= q->seed >> 7;
	q->seed ^= q->seed << 17;
	*(__u64 *)(q->address + (q->v4 ? 8 : 0)) = q->seed;
	if (!q->v4)
		q->address[0] = 0x20 | (q->address[0] & 0x1f);
	q->found += list_class(q->address, q->v4) != CLASS_NONE;
	return 0;
}
#endif
