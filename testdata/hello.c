// SPDX-License-Identifier: MIT OR GPL-2.0-only
/*
 * The module that the tests sign. It says a word and does nothing more: the
 * tests need its bytes, and a kernel that they can load it into.
 */
#include <linux/init.h>
#include <linux/module.h>

static int __init hello_init(void)
{
	pr_info("hello, signed world\n");
	return 0;
}

static void __exit hello_exit(void)
{
}

module_init(hello_init);
module_exit(hello_exit);

MODULE_DESCRIPTION("A module to sign");
MODULE_LICENSE("Dual MIT/GPL");
