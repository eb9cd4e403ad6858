// SPDX-License-Identifier: GPL-2.0
/*
 * usage: load KEYRING PIN [DENIED]
 *
 * Has the kernel verify the signed policy with a keyring (0 builtin, 1 secondary, 2 platform,
 * or a serial number), and pins its program. DENIED would replace the signed address by
 * another one before the program is loaded: only a loader of bpftool before 7.8 lets it.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/bpf.h>
#include "policy.lskel.h"

int main(int argc, char **argv)
{
	struct policy *skel = policy__open();
	union bpf_attr pin;
	int err;

	if (argc < 3 || !skel) {
		fprintf(stderr, "usage: load KEYRING PIN [DENIED]\n");
		return 2;
	}
	skel->keyring_id = atoi(argv[1]);
	if (argc > 3)
		skel->rodata->denied = strtoul(argv[3], NULL, 0);
	err = policy__load(skel);
	if (err) {
		fprintf(stderr, "load: %s\n", strerror(-err));
		return 1;
	}
	memset(&pin, 0, sizeof(pin));
	pin.pathname = (long)argv[2];
	pin.bpf_fd = skel->progs.filter.prog_fd;
	if (skel_sys_bpf(BPF_OBJ_PIN, &pin, sizeof(pin)) < 0) {
		fprintf(stderr, "load: %s: %s\n", argv[2], strerror(errno));
		return 1;
	}
	return 0;
}
