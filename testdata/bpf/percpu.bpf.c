// Variables of each CPU, which libbpf has from Linux 7.3 on.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

int hits SEC(".percpu") = 3;
long more[4] SEC(".percpu.two");

SEC("xdp") int pass(struct xdp_md *ctx)
{
	hits++;
	more[1]++;
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
