// SPDX-License-Identifier: GPL-2.0
/*
 * Lets in the packets of the IPv4 addresses that a signed list allows, and drops all
 * others: also where there is no list. The list is the map value under key 0, four
 * bytes an address.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "../../sign_file_gate.h"

#define VALUE_SIZE 2048
#define MAX_ADDRESSES 64

struct value {
	struct sign_file_gate_entry entry;
	__u8 bytes[VALUE_SIZE];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct value);
} policy SEC(".maps");

/* Too large for the stack. */
struct list {
	__be32 addresses[MAX_ADDRESSES];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct list);
} scratch SEC(".maps");

static __always_inline int allowed(__be32 source)
{
	__u32 key = 0;
	struct list *list = bpf_map_lookup_elem(&scratch, &key);
	long n;

	if (!list)
		return 0;
	n = sign_file_gate_read(&policy, &key, list, sizeof(*list));
	for (int i = 0; i < MAX_ADDRESSES; i++) {
		if ((i + 1) * (long)sizeof(__be32) > n)
			return 0;
		if (list->addresses[i] == source)
			return 1;
	}
	return 0;
}

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = (void *)(ethernet + 1);

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_DROP;
	return allowed(ip->saddr) ? XDP_PASS : XDP_DROP;
}

char _license[] SEC("license") = "GPL";
