package main

// One malloc arena is enough for a program whose memory is Go's: glibc would set up
// another, 128 MB of addresses with six system calls, for each thread that Go starts. Only
// PKCS#11 modules use malloc, and they wait for tokens.

// #include <malloc.h>
//
// #ifdef __GLIBC__
// __attribute__((constructor)) static void one_arena(void) { mallopt(M_ARENA_MAX, 1); }
// #endif
import "C"
