// SPDX-License-Identifier: MIT
/*
 * A program as anybody may sign it: it counts packets and keeps the head of the last
 * one of each kind, in a map of its own. programs_test.go shows what it can be made to write to.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct flow {
	__u64 packets;
	__u64 bytes;
	__u8 head[32]; /* of the last packet */
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct flow);
} flows SEC(".maps");

SEC("socket")
int count(struct __sk_buff *packet)
{
	__u32 kind = 0;
	struct flow *flow;

	if (bpf_skb_load_bytes(packet, 0, &kind, sizeof(kind)))
		return 0;
	flow = bpf_map_lookup_elem(&flows, &kind);
	if (!flow)
		return 0;
	flow->packets++;
	flow->bytes += packet->len;
	bpf_skb_load_bytes(packet, sizeof(kind), flow->head, sizeof(flow->head));
	return 0;
}

char _license[] SEC("license") = "Dual MIT/GPL";
