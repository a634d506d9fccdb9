//go:build ignore

// An attacker, and the meter of what comes back to it. flood.go runs the first on frames that are made in the kernel
// (BPF_F_TEST_XDP_LIVE_FRAMES), and attaches the second where they leave.

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;

// struct xdp_md of linux/bpf.h, which needs the headers of one architecture.
struct xdp_md {
	__u32 data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex;
};

#define SEC(name) __attribute__((section(name), used))

enum { XDP_DROP = 1, XDP_PASS = 2 };

static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static long (*const bpf_redirect)(__u32 ifindex, __u64 flags) = (void *)23;
static long (*const bpf_xdp_adjust_tail)(struct xdp_md *ctx, int delta) = (void *)65;
static long (*const bpf_xdp_store_bytes)(struct xdp_md *ctx, __u32 offset, void *from, __u32 len) = (void *)190;

enum { shape_count = 16, field_count = 12, longest = 1514 };

// A field is four bytes at an even offset of the frame: base, with random bits where varies has ones. Both are as they lie
// in the frame.
struct field {
	__u32 offset, base, varies;
	__u32 sums; // 1: it is in the sum of the transport, 2: in that of the IPv4 header
};

// A shape is a frame with holes for its fields. Its sums are those of all that is no field.
struct shape {
	__u32 length, fields;
	__u32 sum, sum_at, header_sum, header_sum_at; // at 0: there is none
	struct field field[field_count];
	__u8 bytes[1516];
};

volatile const struct shape shapes[shape_count];
volatile const __u32 shapes_used;
volatile const __u32 target;   // the interface that frames leave by
volatile const __u64 interval; // ns between two of them; 0: as fast as it goes
__u64 until;                   // of CLOCK_MONOTONIC

__u64 sent, next_at, state;
__u32 turn;

static __u32 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static __u32 random_word(void)
{
	__u64 x = state; // xorshift64*

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	state = x;
	return x * 0x2545f4914f6cdd1dULL >> 32;
}

static int is_due(void)
{
	__u64 now = bpf_ktime_get_ns();

	if (now >= until || now < next_at)
		return 0;
	next_at += interval;
	if (next_at + 100000 < now) // what an interruption held up is not sent all at once
		next_at = now - 100000;
	return 1;
}

static int put(struct xdp_md *ctx, __u32 offset, __u16 value)
{
	__u8 *at = (__u8 *)(long)ctx->data + (offset & 0x7ff);

	if (at + 2 > (__u8 *)(long)ctx->data_end)
		return -1;
	*(__u16 *)at = value;
	return 0;
}

SEC("xdp")
int flood(struct xdp_md *ctx)
{
	volatile const struct shape *s;
	__u32 sum, header_sum, length;

	if (!is_due())
		return XDP_DROP;
	if (++turn >= shapes_used)
		turn = 0;
	s = &shapes[turn & (shape_count - 1)];
	length = s->length;
	if (length < 42 || length > longest || bpf_xdp_adjust_tail(ctx, (int)length - longest))
		return XDP_DROP;
	if (bpf_xdp_store_bytes(ctx, 0, (void *)s->bytes, length))
		return XDP_DROP;
	sum = s->sum;
	header_sum = s->header_sum;
	for (int i = 0; i < field_count; i++) {
		volatile const struct field *f = &s->field[i];
		__u32 value, sums = f->sums;

		if (i >= s->fields)
			break;
		value = f->base | (random_word() & f->varies);
		if (put(ctx, f->offset, value) || put(ctx, f->offset + 2, value >> 16))
			return XDP_DROP;
		value = (value & 0xffff) + (value >> 16);
		if (sums & 1)
			sum += value;
		if (sums & 2)
			header_sum += value;
	}
	sum = fold(sum);
	if (s->sum_at && put(ctx, s->sum_at, sum ? sum : 0xffff))
		return XDP_DROP;
	if (s->header_sum_at && put(ctx, s->header_sum_at, fold(header_sum)))
		return XDP_DROP;
	sent++;
	return bpf_redirect(target, 0);
}

// What the box sends to the addresses of attackers, which are nobody's.
volatile const __u32 strangers, strangers_mask;           // IPv4, as they lie in a packet
volatile const __u64 strangers_six, strangers_six_mask; // the upper half of an IPv6 address
__u64 back_packets, back_bytes;

static int stray(struct xdp_md *ctx)
{
	__sync_fetch_and_add(&back_packets, 1);
	__sync_fetch_and_add(&back_bytes, ctx->data_end - ctx->data);
	return XDP_DROP;
}

SEC("xdp.frags")
int meter(struct xdp_md *ctx)
{
	__u8 *at = (__u8 *)(long)ctx->data, *end = (__u8 *)(long)ctx->data_end;

	if (at + 14 + 20 <= end && at[12] == 0x08 && at[13] == 0x00) {
		if ((*(__u32 *)(at + 14 + 16) & strangers_mask) == strangers)
			return stray(ctx);
	} else if (at + 14 + 40 <= end && at[12] == 0x86 && at[13] == 0xdd) {
		if ((*(__u64 *)(at + 14 + 24) & strangers_six_mask) == strangers_six)
			return stray(ctx);
	}
	return XDP_PASS;
}

char _license[] SEC("license") = "Apache-2.0"; // none of the helpers asks for another
