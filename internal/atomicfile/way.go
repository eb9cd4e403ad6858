package atomicfile

import (
	"cmp"
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
)

// Strangers: a link that belongs neither to the user nor to root, and leads to what is not
// its owner's, makes the user's path mean what its owner wants. What is read by such a way
// may be a secret (Original.Secret), and nothing is written that way (Place.mayWrite). A link
// into a folder of its owner's gains nothing: what is in there is chosen by that one
// anyway.

// strangers are the owners of such links.
type strangers []uint32

// after adds the owner of a link, when it is known in which folder it ends.
func (s strangers) after(link, folder *unix.Stat_t) strangers {
	if !bounded.Stranger(link.Uid) || folder.Uid == link.Uid || slices.Contains(s, link.Uid) {
		return s
	}
	return append(slices.Clip(s), link.Uid)
}

// openWay opens the directory that a path leads to from another, with the strangers who had
// a say in it. With make, directories that are missing are made.
func openWay(dir int, path string, make bool) (fd int, by strangers, err error) {
	if !make {
		// One call where there is no link on the way: Linux 5.6, unless a sandbox forbids it.
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS}
		fd, err := unix.Openat2(dir, path, &how)
		if !errors.Is(err, unix.ELOOP) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.EINTR) {
			return fd, nil, err
		}
	}
	w := way{make: make}
	if w.fd, err = bounded.OpenRaw(dir, start(path), unix.O_PATH|unix.O_DIRECTORY, 0); err != nil {
		return -1, nil, err
	}
	w.left = steps(path)
	for len(w.left) > 0 {
		next := w.left[0]
		w.left = w.left[1:]
		if err := w.take(next); err != nil {
			unix.Close(w.fd)
			return -1, nil, err
		}
	}
	return w.fd, w.by, nil
}

// start is where a path begins.
func start(path string) string {
	if filepath.IsAbs(path) {
		return "/"
	}
	return "."
}

// step is a component of a path, or the end of what a link said.
type step struct {
	name string
	link *unix.Stat_t
}

func steps(path string) (all []step) {
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			all = append(all, step{name: name})
		}
	}
	return all
}

// way is how far openWay has come.
type way struct {
	fd   int
	by   strangers
	led  []*unix.Stat_t // links that were followed
	left []step
	make bool
}

func (w *way) take(s step) error {
	if s.link != nil {
		return w.ends(s.link)
	}
	fd, err := w.open(s.name)
	if err != nil {
		return err
	}
	var entry unix.Stat_t
	if err := unix.Fstat(fd, &entry); err != nil {
		unix.Close(fd)
		return err
	}
	switch entry.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		var err error
		if w.make { // who put a folder there chooses what is in it
			err = refusePlanted(w.fd, &entry, errPlantedDir)
		}
		w.enter(fd)
		if s.name == ".." { // out of where a link has led
			err = cmp.Or(err, w.ends(w.led...))
		}
		return err
	case unix.S_IFLNK:
		defer unix.Close(fd)
		return w.follow(s.name, fd, &entry)
	}
	unix.Close(fd)
	return unix.ENOTDIR
}

// ends asks whether links have led to what is their owners'.
func (w *way) ends(links ...*unix.Stat_t) error {
	var folder unix.Stat_t
	if err := unix.Fstat(w.fd, &folder); err != nil {
		return err
	}
	for _, link := range links {
		w.by = w.by.after(link, &folder)
	}
	return nil
}

func (w *way) enter(fd int) {
	unix.Close(w.fd)
	w.fd = fd
}

// open opens a component itself. What is missing is not made where a stranger wants it.
func (w *way) open(name string) (fd int, err error) {
	fd, err = bounded.OpenRaw(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
	if !w.make || !errors.Is(err, unix.ENOENT) {
		return fd, err
	}
	if len(w.settled()) > 0 {
		return -1, errStranger
	}
	if err := unix.Mkdirat(w.fd, name, 0o777); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, err
	}
	return bounded.OpenRaw(w.fd, name, unix.O_PATH|unix.O_NOFOLLOW, 0)
}

// settled are the strangers, with those whose links would end here.
func (w *way) settled() strangers {
	var folder unix.Stat_t
	if err := unix.Fstat(w.fd, &folder); err != nil {
		return strangers{0}
	}
	by := w.by
	for _, s := range w.left {
		if s.link != nil {
			by = by.after(s.link, &folder)
		}
	}
	return by
}

func (w *way) follow(name string, fd int, link *unix.Stat_t) error {
	if w.led = append(w.led, link); len(w.led) > maxLinks {
		return unix.ELOOP
	}
	magic, err := isMagic(fd)
	if err != nil {
		return err
	}
	after := step{link: link}
	if magic {
		next, err := bounded.OpenRaw(w.fd, name, unix.O_PATH|unix.O_DIRECTORY, 0)
		if err == nil {
			w.enter(next)
			w.left = append([]step{after}, w.left...)
		}
		return err
	}
	if err := refusePlanted(w.fd, link, errPlantedLink); err != nil {
		return err
	}
	to, err := readlink(fd)
	if err != nil {
		return err
	}
	if filepath.IsAbs(to) {
		root, err := bounded.OpenRaw(unix.AT_FDCWD, "/", unix.O_PATH|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		w.enter(root)
	}
	w.left = slices.Concat(steps(to), []step{after}, w.left)
	return nil
}

// isMagic reports whether a link is one of /proc (/dev/stdout, /dev/fd/3): it leads to
// what is open already, and its text is no path.
func isMagic(fd int) (bool, error) {
	var filesystem unix.Statfs_t
	err := unix.Fstatfs(fd, &filesystem)
	return filesystem.Type == unix.PROC_SUPER_MAGIC, err
}

func readlink(fd int) (string, error) {
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(fd, "", buf)
	if err != nil {
		return "", err
	}
	return string(buf[:n]), nil
}

// refused is EACCES, and says why.
type refused string

func (r refused) Error() string { return string(r) + ": " + unix.EACCES.Error() }

// Unwrap is for errors.Is.
func (refused) Unwrap() error { return unix.EACCES }

const (
	errStranger    refused = "another user's link leads there, to what is not that user's (name the file itself)"
	errPlantedLink refused = "a symbolic link of another user in a shared directory is not followed"
	errPlanted     refused = "a file of another user in a shared directory is not written"
	errPlantedDir  refused = "a directory of another user in a shared directory is not written to"
	errForeignFIFO refused = bounded.ForeignFIFO
)

// strangers are those who had a say in where the place is.
func (p *Place) strangers() strangers { return append(slices.Clip(p.by), p.folder.by...) }

// mayWrite refuses a place that a stranger has led to.
func (p *Place) mayWrite() error {
	if len(p.strangers()) > 0 {
		return p.error("write", errStranger)
	}
	return nil
}
