// SPDX-License-Identifier: GPL-2.0
/*
 * The gate: lets into the protected map what the kernel has verified, and nothing
 * else. Each value is copied from user space once; what is checked, what is
 * verified and what is published is that copy.
 */
#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/errno.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define MAX_KEY 64
/* asn1_ber_decoder reads no more of a message. */
#define MAX_SIGNATURE 65535
#define SLOTS 8
#define FMODE_WRITE 2

/* What Go fills in before the programs are loaded; the verifier takes these for
 * constants. */
const volatile __u32 value_size; /* of a map value in user space, in bytes */
const volatile __u32 key_size;
const volatile __u32 keyring_serial; /* a user keyring, or 0: */
const volatile __u64 keyring_system; /* bpf_lookup_system_key's number */

/* An element of the protected map; reader/sign_file_gate.h has the same. */
struct entry {
	__u64 generation;
	__u32 size; /* of the verified data behind the be32 in value */
	__u32 reserved;
	__u8 value[];
};

/* What one invocation works on. Slot 0 is never claimed: it stays zero. */
struct slot {
	__u32 busy;
	__u32 reserved;
	__u8 key[MAX_KEY];
	__u8 signature[MAX_SIGNATURE + 1];
	struct entry entry;
};

/* Sizes that depend on the gate are set before the maps are created. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, sizeof(struct entry));
} values SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS + 1);
	__uint(key_size, 4);
	__uint(value_size, sizeof(struct slot));
} slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, sizeof(__u64));
} generations SEC(".maps");

/* Where user space writes on kernels that let no other program verify. What the
 * kernel then stores in it is of no account, but there must be room for it: a key
 * gets here once it is in values, so as many elements are enough. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} inbox SEC(".maps");

struct key;

/* With its fields: cilium/ebpf finds a forward declaration incompatible. */
struct bpf_key {
	struct key *key;
	bool has_ref;
};

extern struct bpf_key *bpf_lookup_user_key(__u32 serial, __u64 flags) __ksym;
extern struct bpf_key *bpf_lookup_system_key(__u64 id) __ksym;
extern void bpf_key_put(struct bpf_key *key) __ksym;
extern int bpf_verify_pkcs7_signature(struct bpf_dynptr *data, struct bpf_dynptr *signature,
				      struct bpf_key *keyring) __ksym;

/* struct module_signature and the marker behind it, as in package modsig. */
struct trailer {
	__u8 algo, hash, id_type, signer_len, key_id_len, pad[3];
	__be32 sig_len;
	char marker[28];
};

#define PKEY_ID_PKCS7 2
#define MARKER "~Module signature appended~\n"
#define MARKER_SIZE 28
#define INFO_SIZE 12

#define TOO_LARGE ((__u64)-1)

/* bounded returns n, or TOO_LARGE if it is above most. In assembler, because up to
 * 6.12 the verifier forgets the bounds of a copy that was spilled before a
 * comparison, and where that happens is the compiler's choice. */
static __always_inline __u64 bounded(__u64 n, __u64 most)
{
	asm volatile("if %0 <= %1 goto +1\n\t%0 = -1" : "+r"(n) : "r"(most));
	return n;
}

static __always_inline bool has_marker(const struct trailer *t)
{
	/* Unrolled: 6.1 has no helper for it. */
#pragma unroll
	for (int i = 0; i < MARKER_SIZE; i++)
		if (t->marker[i] != MARKER[i])
			return false;
	return true;
}

/* check_trailer returns the length of the signature, or an error: the decisions of
 * bpf_map_verify_value_sig after those on the value's length, in its order. n is what
 * the be32 says: the length of data and signature. */
static __always_inline long check_trailer(const __u8 *value, __u64 n)
{
	struct trailer t;
	__u64 signature;

	if (n <= MARKER_SIZE)
		return -ENOENT;
	/* May begin before the value if n is small: that is inside the slot. */
	if (bpf_probe_read_kernel(&t, sizeof(t), value + n + 4 - sizeof(t)))
		return -EFAULT;
	if (!has_marker(&t))
		return -ENOENT;
	n -= MARKER_SIZE;
	signature = bpf_ntohl(t.sig_len);
	if (n <= INFO_SIZE || signature >= n - INFO_SIZE)
		return -EBADMSG;
	if (t.id_type != PKEY_ID_PKCS7)
		return -ENOPKG;
	if (t.algo || t.hash || t.signer_len || t.key_id_len || t.pad[0] || t.pad[1] || t.pad[2])
		return -EBADMSG;
	return signature;
}

static __always_inline struct bpf_key *lookup_keyring(void)
{
	if (keyring_serial)
		return bpf_lookup_user_key(keyring_serial, 0);
	return bpf_lookup_system_key(keyring_system);
}

/* verify has the kernel check the signature over the data, both in the slot. */
static __always_inline long verify(struct slot *slot, __u64 data_size, __u64 signature_size)
{
	struct bpf_dynptr data, signature;
	struct bpf_key *keyring;
	long err;

	signature_size = bounded(signature_size, MAX_SIGNATURE);
	if (signature_size == TOO_LARGE)
		return -EMSGSIZE;
	/* A buffer of its own, because the verifier can't follow an offset and a
	 * length that vary together. */
	if (bpf_probe_read_kernel(slot->signature, signature_size, slot->entry.value + 4 + data_size))
		return -EFAULT;
	/* On failure a dynptr is null, and up to 6.19 the kernel would verify what is
	 * embedded in the message instead of the data. */
	if (bpf_dynptr_from_mem(slot->entry.value + 4, data_size, 0, &data) ||
	    bpf_dynptr_from_mem(slot->signature, signature_size, 0, &signature))
		return -E2BIG;
	keyring = lookup_keyring();
	if (!keyring)
		return -ENOKEY;
	err = bpf_verify_pkcs7_signature(&data, &signature, keyring);
	bpf_key_put(keyring);
	return err;
}

static __always_inline long publish(struct slot *slot, __u64 data_size)
{
	__u32 zero = 0;
	__u64 *generation = bpf_map_lookup_elem(&generations, &zero);

	if (!generation)
		return -EFAULT;
	slot->entry.generation = __sync_fetch_and_add(generation, 1) + 1;
	slot->entry.size = data_size;
	/* Up to 6.3 the helper returns an int, in the lower half of the register. */
	return (int)bpf_map_update_elem(&values, slot->key, &slot->entry, BPF_ANY);
}

/* take copies a candidate into the slot, and publishes it if it is authentic. */
static __always_inline long take(struct slot *slot, const void *key, const void *value)
{
	__u32 zero = 0;
	struct slot *blank = bpf_map_lookup_elem(&slots, &zero);
	__u8 *copy = slot->entry.value;
	__u64 size = value_size, n, data_size;
	__be32 prefix;
	long signature, err;

	if (!blank || size <= sizeof(prefix))
		return -ENOENT;
	/* Of the value before: what is published ends with the signature, and the
	 * unverified tail is never read. */
	if (bpf_probe_read_kernel(copy, size, blank->entry.value) ||
	    bpf_copy_from_user(slot->key, key_size, key) ||
	    bpf_copy_from_user(&prefix, sizeof(prefix), value))
		return -EFAULT;
	n = bpf_ntohl(prefix);
	n = bounded(n, size - sizeof(prefix));
	if (n == TOO_LARGE)
		return -EINVAL;
	if (bpf_copy_from_user(copy + sizeof(prefix), n, value + sizeof(prefix)))
		return -EFAULT;
	__builtin_memcpy(copy, &prefix, sizeof(prefix));
	signature = check_trailer(copy, n);
	if (signature < 0)
		return signature;
	data_size = bounded(n - MARKER_SIZE - INFO_SIZE - signature, size - sizeof(prefix));
	if (data_size == TOO_LARGE)
		return -EBADMSG;
	err = verify(slot, data_size, signature);
	if (err)
		return err;
	return publish(slot, data_size);
}

/* claim finds a slot that no other invocation uses. */
static __always_inline struct slot *claim(void)
{
#pragma unroll
	for (__u32 i = 1; i <= SLOTS; i++) {
		__u32 index = i;
		struct slot *slot = bpf_map_lookup_elem(&slots, &index);

		if (slot && !__sync_val_compare_and_swap(&slot->busy, 0, 1))
			return slot;
	}
	return NULL;
}

static __always_inline long pass(const void *key, const void *value)
{
	struct slot *slot = claim();
	long err;

	if (!slot)
		return -EBUSY;
	err = take(slot, key, value);
	__sync_lock_test_and_set(&slot->busy, 0);
	return err;
}

/* What user space hands to the program load. */
struct candidate {
	__u64 key;   /* address of key_size bytes */
	__u64 value; /* address of value_size bytes */
};

/* From 6.18 on BPF_PROG_RUN is the way in. */
SEC("syscall")
int load(struct candidate *c)
{
	return pass((void *)c->key, (void *)c->value);
}

struct file {
	void *private_data;
} __attribute__((preserve_access_index));

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
} __attribute__((preserve_access_index));

struct files_struct {
	struct fdtable *fdt;
} __attribute__((preserve_access_index));

struct task_struct {
	struct files_struct *files;
} __attribute__((preserve_access_index));

/* is_inbox tells whether the descriptor is the inbox. Another thread may put
 * something else in its place at any time; that decides only which map, worthless
 * or another gate's inbox, the kernel's own copy goes to. */
static __always_inline bool is_inbox(__u32 fd)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct fdtable *table = BPF_CORE_READ(task, files, fdt);
	struct file **files = BPF_CORE_READ(table, fd), *file;
	void *map = NULL;

	if (fd >= BPF_CORE_READ(table, max_fds) || bpf_probe_read_kernel(&file, sizeof(file), files + fd))
		return false;
	if (bpf_core_read(&map, sizeof(map), &file->private_data))
		return false;
	return map == (void *)&inbox;
}

/* as_errno shows the verifier of 6.12 and later the range of an LSM's answer. */
static __always_inline long as_errno(long err)
{
	barrier_var(err);
	if (err < -4095 || err > 0)
		return -EFAULT;
	return err;
}

/* Up to 6.17 only LSM and tracing programs may verify: a write to the inbox is the
 * way in, and its errno the answer. */
SEC("lsm.s/bpf")
long receive(__u64 *arguments)
{
	int command = arguments[0];
	union bpf_attr attr;

	if (command != BPF_MAP_UPDATE_ELEM && command != BPF_MAP_UPDATE_BATCH)
		return 0;
	if (bpf_probe_read_kernel(&attr, 56, (void *)arguments[1]))
		return -EFAULT;
	if (command == BPF_MAP_UPDATE_BATCH)
		return is_inbox(attr.batch.map_fd) ? -EOPNOTSUPP : 0;
	if (!is_inbox(attr.map_fd))
		return 0;
	if (attr.flags != BPF_ANY)
		return -EINVAL;
	return as_errno(pass((void *)attr.key, (void *)attr.value));
}

/* guard: nobody gets a descriptor any more through which user space could write
 * to the protected map, nor any of the gate's own maps. */
SEC("lsm/bpf_map")
long guard(__u64 *arguments)
{
	void *map = (void *)arguments[0];
	__u32 mode = arguments[1];

	bool refused = map == (void *)&slots || map == (void *)&generations ||
		       (map == (void *)&values && mode & FMODE_WRITE);

	return as_errno(refused ? -EPERM : 0);
}

/* The kfuncs are for GPL programs. */
char _license[] SEC("license") = "GPL";
