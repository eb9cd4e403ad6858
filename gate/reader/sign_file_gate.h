/* SPDX-License-Identifier: MIT */
/*
 * How a BPF program reads what a gate has published.
 *
 *	struct value {
 *		struct sign_file_gate_entry entry;
 *		__u8 bytes[VALUE_SIZE];		the gate's --value-size
 *	};
 *
 *	struct {
 *		__uint(type, BPF_MAP_TYPE_HASH);
 *		__uint(max_entries, MAX_ENTRIES);
 *		__type(key, __u32);
 *		__type(value, struct value);
 *	} policy SEC(".maps");			reuse the pin .../NAME/values for it
 *
 *	n = sign_file_gate_read(&policy, &key, buffer, sizeof(buffer));
 */
#ifndef SIGN_FILE_GATE_H
#define SIGN_FILE_GATE_H

#include <linux/bpf.h>
#include <linux/errno.h>
#include <bpf/bpf_helpers.h>

/* What stands before the map value (be32, data, signature) in an element. */
struct sign_file_gate_entry {
	__u64 generation; /* new for every value, never the same for two */
	__u32 size;	  /* of the verified data, in bytes */
	__u32 reserved;
};

/*
 * sign_file_gate_read copies the verified data under a key to a buffer. size is the
 * buffer's, a constant. It returns the data's length, or
 *
 *	-ENOENT	nothing is published under the key
 *	-E2BIG	the buffer is too small
 *	-EAGAIN	the value was replaced meanwhile; what is in the buffer may be of both
 */
static __always_inline long sign_file_gate_read(void *map, const void *key, void *buffer, __u32 size)
{
	struct sign_file_gate_entry *entry = bpf_map_lookup_elem(map, key), *again;
	__u64 generation, n;

	if (!entry)
		return -ENOENT;
	generation = *(volatile __u64 *)&entry->generation;
	n = *(volatile __u32 *)&entry->size;
	if (n > size)
		return -E2BIG;
	/* The explicit bound, because older verifiers lose track of a compared copy. */
	asm volatile("if %0 <= %1 goto +1\n\t%0 = 0" : "+r"(n) : "r"((__u64)size));
	if (bpf_probe_read_kernel(buffer, n, (__u8 *)(entry + 1) + sizeof(__be32)))
		return -EFAULT;
	/* The memory of a replaced element is used again at once. As long as the key
	 * still leads to it, and to the same generation, it was not. */
	again = bpf_map_lookup_elem(map, key);
	if (again != entry || *(volatile __u64 *)&again->generation != generation)
		return -EAGAIN;
	return n;
}

#endif
