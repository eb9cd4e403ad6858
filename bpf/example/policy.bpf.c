// SPDX-License-Identifier: GPL-2.0
/*
 * Drops what comes from one IPv4 address. The address is the policy: it is in .rodata,
 * which is in the map that the loader's signature covers.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 denied = 0xc0000201; /* 192.0.2.1 */

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *ethernet = data;
	struct iphdr *ip = data + sizeof(*ethernet);

	if ((void *)(ip + 1) > end || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	return bpf_ntohl(ip->saddr) == denied ? XDP_DROP : XDP_PASS;
}

char _license[] SEC("license") = "GPL";
