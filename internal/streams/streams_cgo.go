//go:build cgo

package streams

// #include <errno.h>
// #include <fcntl.h>
//
// static int closed_at_start;
//
// __attribute__((constructor)) static void look(void)
// {
// 	for (int fd = 0; fd < 3; fd++)
// 		if (fcntl(fd, F_GETFD) == -1 && errno == EBADF)
// 			closed_at_start |= 1 << fd;
// }
//
// static int closed(void) { return closed_at_start; }
import "C"

func closed() (c [3]bool) {
	bits := C.closed()
	for fd := range c {
		c[fd] = bits>>fd&1 == 1
	}
	return c
}
