package kernel

import (
	"fmt"
	"slices"
)

// What came and went between 6.1 and 6.12, from the kernel's history: md4, md5 and SHA-1
// were taken out of both parsers for 6.7, SHA-1 came back with 6.9 and the stable 6.7.12 and
// 6.8.3, SHA-3 and the right tags of names came with 6.7, P-521 with 6.10, strict extensions
// with 6.4, and SM2 went with 6.11. How such a kernel was built is not known without its
// configuration.

// sinceSixOne gives the rules of 6.1 what a later kernel before 6.12 has otherwise.
func (k *Kernel) sinceSixOne() {
	k.strictExtensions = k.Since(6, 4)
	k.sm2 = !k.Since(6, 11)
	if k.Since(6, 10) {
		k.curves = append(slices.Clone(k.curves), oidP521)
	}
	if !k.Since(6, 7) {
		return
	}
	k.sha3, k.implicitNames = true, true
	k.hashes = slices.DeleteFunc(hashes(module, module), func(h hash) bool { return h.oid == oidSHA1 && k.lacksSHA1() == yes })
}

// lacksSHA1 says whether SHA-1 is out of the parsers of this release.
func (k *Kernel) lacksSHA1() answer {
	back, ok := map[[2]int]int{{6, 7}: 12, {6, 8}: 3}[k.release]
	if !k.between || !ok {
		return no
	}
	level, known := k.Patch()
	switch {
	case !known || level == 0: // distributions keep the 0: Ubuntu's 6.8.0-31 has what came later
		return unknown
	case level < back:
		return yes
	}
	return no
}

// differ is why there is no verdict on what kernels between 6.1 and 6.12 answer
// differently; nil for others.
func (k *Kernel) differ(what string) error {
	if !k.between {
		return nil
	}
	return fmt.Errorf("not decided: kernels between 6.1 and 6.12 differ in %s", what)
}

// unsureSHA1 is differ for SHA-1, of a release that has lost it and got it back.
func (k *Kernel) unsureSHA1(h *hash) error {
	if h == nil || h.oid != oidSHA1 || k.lacksSHA1() != unknown {
		return nil
	}
	return k.differ("SHA-1: 6.7 and 6.8 lacked it until 6.7.12 and 6.8.3 (--kernel with the third number tells)")
}

// title names the kernel in what it refuses.
func (k *Kernel) title() string {
	if k.between {
		return k.Release()
	}
	return k.Name
}
