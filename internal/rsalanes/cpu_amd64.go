package rsalanes

import "golang.org/x/sys/cpu"

// Supported reports whether the processor has the instructions, and the operating system
// saves the registers.
func Supported() bool {
	return cpu.X86.HasAVX512F && cpu.X86.HasAVX512VL && cpu.X86.HasAVX512IFMA
}

func codeFor(count, limbs int) code {
	switch {
	case count == 4 && limbs == 20:
		return code{amm4x20, squares4, reduce4x20, gather4x20}
	case count == 4 && limbs == 30:
		return code{amm4x30, squares4, reduce4x30, gather4x30}
	case count == 4 && limbs == 40:
		return code{amm4x40, squares4, reduce4x40, gather4x40}
	case limbs == 20:
		return code{amm8x20, squares8, reduce8x20, gather8x20}
	case limbs == 30:
		return code{amm8x30, squares8, reduce8x30, gather8x30}
	}
	return code{amm8x40, squares8, reduce8x40, gather8x40}
}
