package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// entries is how many powers the table has: windows of five bits.
const entries = 32

// gather is func(out, table, index): each lane takes its entry of the table. Every entry
// is read, and those of other lanes are masked out, so that no address depends on an index.
func gather(w width, vectors int) {
	TEXT(w.function("gather", vectors), NOSPLIT, "func(out, table, index *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s selects %s lanes of %d vectors.", w.function("gather", vectors), w.name, vectors))
	out, table := Load(Param("out"), GP64()), Load(Param("table"), GP64())
	index := Load(Param("index"), GP64())
	wanted, entry, minusOne := w.reg(29), w.reg(30), w.reg(31)
	VMOVDQU64(w.limb(index, 0), wanted)
	VPTERNLOGQ(U8(0xff), minusOne, minusOne, minusOne)
	at, count := GP64(), GP64()
	const most = 20 // vectors in registers
	for first := 0; first < vectors; first += most {
		part := min(most, vectors-first)
		for i := range part {
			VPXORQ(w.reg(i), w.reg(i), w.reg(i))
		}
		VPXORQ(entry, entry, entry)
		MOVQ(table, at)
		MOVQ(U32(entries), count)
		loop := fmt.Sprintf("%s_%d", w.function("entries", vectors), first)
		Label(loop)
		VPCMPEQQ(entry, wanted, reg.K1)
		for i := range part {
			VMOVDQU64(w.limb(at, first+i), reg.K1, w.reg(i))
		}
		VPSUBQ(minusOne, entry, entry)
		ADDQ(U32(vectors*w.bytes), at)
		DECQ(count)
		JNZ(LabelRef(loop))
		for i := range part {
			VMOVDQU64(w.reg(i), w.limb(out, first+i))
		}
	}
	VZEROUPPER()
	RET()
}

// gatherAVX2 is gather without masks of registers.
func gatherAVX2(w width, vectors int) {
	TEXT(w.function("gather", vectors), NOSPLIT, "func(out, table, index *uint64)")
	Pragma("noescape")
	Doc(fmt.Sprintf("%s selects %s lanes of %d vectors.", w.function("gather", vectors), w.name, vectors))
	out, table := Load(Param("out"), GP64()), Load(Param("table"), GP64())
	index := Load(Param("index"), GP64())
	const most = 10 // vectors in registers
	wanted, entry, minusOne, chosen, value := w.reg(11), w.reg(12), w.reg(13), w.reg(14), w.reg(15)
	VMOVDQU(w.limb(index, 0), wanted)
	VPCMPEQQ(minusOne, minusOne, minusOne)
	at, count := GP64(), GP64()
	for first := 0; first < vectors; first += most {
		part := min(most, vectors-first)
		for i := range part {
			VPXOR(w.reg(i), w.reg(i), w.reg(i))
		}
		VPXOR(entry, entry, entry)
		MOVQ(table, at)
		MOVQ(U32(entries), count)
		loop := fmt.Sprintf("%s_%d", w.function("entries", vectors), first)
		Label(loop)
		VPCMPEQQ(entry, wanted, chosen)
		for i := range part {
			VPAND(w.limb(at, first+i), chosen, value)
			VPOR(value, w.reg(i), w.reg(i))
		}
		VPSUBQ(minusOne, entry, entry)
		ADDQ(U32(vectors*w.bytes), at)
		DECQ(count)
		JNZ(LabelRef(loop))
		for i := range part {
			VMOVDQU(w.reg(i), w.limb(out, first+i))
		}
	}
	VZEROUPPER()
	RET()
}
