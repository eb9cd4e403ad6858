// Every kind of variable, map and attachment that bpftool writes into a light skeleton.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

typedef int (*callback)(const char *name, unsigned long long *, ...);
typedef struct { int x; } point;

struct entry {
	int number;
	struct entry *next;
};

/* .rodata, .data, .bss, .kconfig, and sections of their own */
const volatile struct {
	int flag : 1;
	unsigned int kind : 5;
	enum { NONE, ONE = 1, LAST = -1 } which;
	enum { SMALL = 1 } __attribute__((mode(byte))) small;
	union {
		long number;
		char text[16];
	};
	struct { char a; int b; } __attribute__((packed)) packed;
	struct { } nothing;
} opts = { .kind = 3, .text = "\"*/ \\\n?\?/" };
const volatile enum { BIG = 1ULL << 40, NEGATIVE = -5LL } wide = BIG;
unsigned long long table[4][3] = { { 1 } };
point points[2];
struct entry first = { 1 };
struct entry *heads[3];
int (*matrix)[2][5];
int (*pick)(int, char *);
int (*(*pick_from[2])(void))(point *, struct entry);
callback on_event;
void *anything;
_Bool ready = 1;
unsigned __int128 large = 77;
float half = 0.5;
int aligned __attribute__((aligned(64)));
static volatile int hidden = 4;
const int other SEC(".rodata.other") = 5;
char more[300] SEC(".bss.more");

extern int LINUX_KERNEL_VERSION __kconfig;
extern const _Bool CONFIG_BPF __kconfig __weak;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__type(key, int);
	__type(value, struct entry);
	__uint(max_entries, 16);
} opts_insn SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} _ring SEC(".maps");

SEC("raw_tp/sys_enter") int enter(void *ctx)
{
	int key = 0;

	hidden += opts.kind + table[1][1] + points[1].x + first.number + ready + aligned + other + more[2] + large;
	hidden += wide + (heads[1] == 0) + (matrix == 0) + (pick == 0) + (pick_from[1] == 0) + (on_event == 0) + (anything == 0);
	hidden += LINUX_KERNEL_VERSION + CONFIG_BPF + (*(int *)&half == 0);
	return bpf_map_lookup_elem(&opts_insn, &key) != 0;
}
SEC("kprobe/do_nanosleep") int load(void *ctx) { return hidden; }
SEC("xdp") int __attach__(struct xdp_md *ctx) { return XDP_PASS; }
SEC("iter/task") int walk(void *ctx) { return 0; }
SEC("lsm/bpf_map") int deny(void *ctx) { return 0; }
SEC("tp_btf/sys_exit") int left(void *ctx) { return 0; }

char _license[] SEC("license") = "GPL";
