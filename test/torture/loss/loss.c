//go:build ignore

// A bad network: packets that leave an interface are dropped, doubled or sent on a detour that makes them late, each with
// a given probability. loss.go attaches it, detour.go is the detour.

typedef unsigned char __u8;
typedef unsigned int __u32;
typedef unsigned long long __u64;

// The begin of struct __sk_buff of linux/bpf.h, which needs the headers of one architecture.
struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol;
	__u32 vlan_present, vlan_tci, vlan_proto, priority;
	__u32 ingress_ifindex, ifindex;
};

#define SEC(name) __attribute__((section(name), used))

enum { TCX_NEXT = -1 };

static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static long (*const bpf_clone_redirect)(struct __sk_buff *skb, __u32 ifindex, __u64 flags) = (void *)13;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*const bpf_skb_load_bytes)(const void *skb, __u32 offset, void *to, __u32 len) = (void *)26;

// Probabilities, in packets of a thousand.
volatile const __u32 drop, duplicate, reorder;
volatile const __u32 home;   // the interface itself
volatile const __u32 detour; // where packets go that are to be late

// What became of the packets.
__u64 passed, dropped, duplicated, reordered;

// Such a packet was here before. The mark ends with the namespace.
static const __u32 again = 0x6c6f7373;

// Nothing has this index. A packet that is redirected there is gone without a word: a verdict to drop would tell the
// sending socket, which then tries again at once as if nothing had been lost.
static const __u32 nowhere = 0;

// Only what TCP and UDP can lose is touched: without neighbours nothing goes at all.
static int is_tcp_or_udp(struct __sk_buff *skb)
{
	__u8 protocol = 0;

	if (skb->protocol == __builtin_bswap16(0x0800))
		bpf_skb_load_bytes(skb, 14 + 9, &protocol, 1);
	else if (skb->protocol == __builtin_bswap16(0x86dd))
		bpf_skb_load_bytes(skb, 14 + 6, &protocol, 1);
	return protocol == 6 || protocol == 17;
}

SEC("tcx/egress")
int worsen(struct __sk_buff *skb)
{
	__u32 n, mark = skb->mark;

	if (mark == again || !is_tcp_or_udp(skb))
		return TCX_NEXT;
	n = bpf_get_prandom_u32() % 1000;
	if (n < drop) {
		__sync_fetch_and_add(&dropped, 1);
		return bpf_redirect(nowhere, 0);
	}
	n -= drop;
	if (n < duplicate) {
		__sync_fetch_and_add(&duplicated, 1);
		skb->mark = again;
		bpf_clone_redirect(skb, home, 0);
		skb->mark = mark;
		return TCX_NEXT;
	}
	n -= duplicate;
	if (n < reorder) {
		__sync_fetch_and_add(&reordered, 1);
		return bpf_redirect(detour, 0);
	}
	__sync_fetch_and_add(&passed, 1);
	return TCX_NEXT;
}

SEC("tcx/ingress")
int come_home(struct __sk_buff *skb)
{
	skb->mark = again;
	return bpf_redirect(home, 0);
}

char _license[] SEC("license") = "Apache-2.0"; // none of the helpers asks for another
