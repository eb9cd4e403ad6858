package vm

import (
	"bytes"
	"fmt"
)

// file is an entry of an initramfs.
type file struct {
	name string
	mode uint32
	data []byte
}

// cpio writes the "newc" archive that the kernel unpacks as its initramfs
// (Documentation/driver-api/early-userspace/buffer-format.rst).
func cpio(files []file) []byte {
	const regular = 0o100000
	var out bytes.Buffer
	pad := func() {
		for out.Len()%4 != 0 {
			out.WriteByte(0)
		}
	}
	for i, f := range append(files, file{name: "TRAILER!!!"}) {
		out.WriteString("070701")
		// inode, mode, uid, gid, links, mtime, size, device and rdevice (major,
		// minor), length of the name with its NUL, no checksum
		for _, field := range []int{i + 1, int(regular | f.mode), 0, 0, 1, 0, len(f.data), 0, 0, 0, 0, len(f.name) + 1, 0} {
			fmt.Fprintf(&out, "%08x", field)
		}
		out.WriteString(f.name + "\x00")
		pad()
		out.Write(f.data)
		pad()
	}
	return out.Bytes()
}
