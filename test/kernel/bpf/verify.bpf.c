// SPDX-License-Identifier: GPL-2.0
/*
 * Asks bpf_verify_pkcs7_signature about a request that user space left in a map.
 *
 * An LSM program, because up to 6.17 only TRACING and LSM programs may call the
 * kfunc (kernel/trace/bpf_trace.c); newer kernels take the same program. It
 * never denies anything.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define MAX_DATA (1 << 20)
#define MAX_SIGNATURE (1 << 17)

/* A command that bpf(2) will not know: the hook comes first, then EINVAL. Bit 16 is
 * clear: 7.x has a flag there, and takes it off for the hook. */
#define TRIGGER 0x7369

enum status {
	NOT_RUN, /* as user space leaves it */
	VERIFIED, /* result is the kfunc's */
	NO_KEYRING,
	NO_DYNPTR,
};

struct request {
	__u32 status;
	__s32 result;
	__u32 data_size;
	__u32 signature_size;
	__s32 keyring; /* serial number, or 0: system */
	__u32 system;
	__u8 data[MAX_DATA];
	__u8 signature[MAX_SIGNATURE];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct request);
} requests SEC(".maps");

struct key;

/* With its fields: cilium/ebpf finds a forward declaration incompatible. */
struct bpf_key {
	struct key *key;
	_Bool has_ref;
};

extern struct bpf_key *bpf_lookup_user_key(__u32 serial, __u64 flags) __ksym;
extern struct bpf_key *bpf_lookup_system_key(__u64 id) __ksym;
extern void bpf_key_put(struct bpf_key *key) __ksym;
extern int bpf_verify_pkcs7_signature(struct bpf_dynptr *data, struct bpf_dynptr *signature,
				      struct bpf_key *keyring) __ksym;

SEC("lsm.s/bpf")
int verify(__u64 *arguments)
{
	struct bpf_dynptr data, signature;
	struct bpf_key *keyring;
	struct request *r;
	__u32 zero = 0;

	/* Only the first argument, the command: the number of the others changed. */
	if ((int)arguments[0] != TRIGGER)
		return 0;
	r = bpf_map_lookup_elem(&requests, &zero);
	if (!r)
		return 0;

	/* Read once: user space has the map mapped, and the verifier wants the bound. */
	__u64 data_size = *(volatile __u32 *)&r->data_size;
	__u64 signature_size = *(volatile __u32 *)&r->signature_size;
	barrier_var(data_size);
	barrier_var(signature_size);
	/* On failure a dynptr is null, and up to 6.19 the kfunc then verifies the
	 * content embedded in the message instead. */
	r->status = NO_DYNPTR;
	if (data_size > MAX_DATA || signature_size > MAX_SIGNATURE)
		return 0;
	if (bpf_dynptr_from_mem(r->data, data_size, 0, &data) ||
	    bpf_dynptr_from_mem(r->signature, signature_size, 0, &signature))
		return 0;

	if (r->keyring)
		keyring = bpf_lookup_user_key(r->keyring, 0);
	else
		keyring = bpf_lookup_system_key(r->system);
	if (!keyring) {
		r->status = NO_KEYRING;
		return 0;
	}
	r->result = bpf_verify_pkcs7_signature(&data, &signature, keyring);
	r->status = VERIFIED;
	bpf_key_put(keyring);
	return 0;
}

/* The kfuncs are for GPL programs. */
char _license[] SEC("license") = "GPL";
