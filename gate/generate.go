package gate

// Regenerating needs clang; the objects are committed.
//go:generate go tool bpf2go -target bpfel,bpfeb -cflags "-O2 -g -mcpu=v3 -Wall -Werror" program bpf/gate.bpf.c -- -I/usr/include/x86_64-linux-gnu
