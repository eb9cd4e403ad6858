package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"sign-file/internal/bounded"
	"sign-file/internal/paths"
)

// Folder is a directory that is held open: whoever renames it, or puts a link in its
// place, does not change which directory names are looked up in.
type Folder struct {
	file *os.File
	by   strangers // who had a say in which one it is
}

// OpenFolder opens the directory that a path leads to, through links too.
func OpenFolder(path string) (*Folder, error) {
	return openFolderAt(unix.AT_FDCWD, path, path, false)
}

// MakeFolder is OpenFolder for a directory to write to: it is made where it is missing, with
// those that lead there. No other user's link may lead to it, but into a folder of that
// user's.
func MakeFolder(path string) (*Folder, error) {
	f, err := openFolderAt(unix.AT_FDCWD, path, path, true)
	if err == nil && len(f.by) > 0 {
		f.Close()
		err = &fs.PathError{Op: "open", Path: path, Err: errStranger}
	}
	if err != nil {
		return nil, err
	}
	return f, nil
}

func openFolderAt(dir int, name, path string, make bool) (*Folder, error) {
	if name == "" {
		return nil, &fs.PathError{Op: "open", Path: path, Err: unix.ENOENT}
	}
	fd, by, err := openWay(dir, name, make)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &Folder{os.NewFile(uintptr(fd), path), by}, nil
}

// Path is the path that the folder was opened by.
func (f *Folder) Path() string { return f.file.Name() }

// Close lets go of the folder.
func (f *Folder) Close() error { return f.file.Close() }

func (f *Folder) fd() int { return int(f.file.Fd()) }

// Stat tells which directory it is.
func (f *Folder) Stat() (os.FileInfo, error) { return f.file.Stat() }

// Is reports whether the folder is that directory.
func (f *Folder) Is(info os.FileInfo) bool {
	own, err := f.Stat()
	return err == nil && os.SameFile(own, info)
}

// LeadsToDir reports whether a name of the folder leads to a directory, as a link may.
func (f *Folder) LeadsToDir(name string) bool {
	var stat unix.Stat_t
	err := unix.Fstatat(f.fd(), name, &stat, 0)
	return err == nil && stat.Mode&unix.S_IFMT == unix.S_IFDIR
}

// Sub opens a directory of the folder. A link is not followed.
func (f *Folder) Sub(name string) (*Folder, error) {
	path := paths.Join(f.Path(), name)
	fd, err := bounded.OpenRaw(f.fd(), name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err == nil {
		return &Folder{os.NewFile(uintptr(fd), path), f.by}, nil
	}
	var stat unix.Stat_t
	if errors.Is(err, unix.ENOTDIR) && unix.Fstatat(f.fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW) == nil && isLink(&stat) {
		return nil, linkError(path)
	}
	return nil, &fs.PathError{Op: "open", Path: path, Err: err}
}

// Follow opens a directory of the folder, through links too.
func (f *Folder) Follow(name string) (*Folder, error) {
	sub, err := openFolderAt(f.fd(), name, paths.Join(f.Path(), name), false)
	if err == nil {
		sub.by = append(slices.Clip(sub.by), f.by...)
	}
	return sub, err
}

// ReadDir lists the folder, sorted by name.
func (f *Folder) ReadDir() ([]fs.DirEntry, error) {
	fd, err := bounded.OpenRaw(f.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: f.Path(), Err: err}
	}
	// The entries' Info goes by this name; it is only asked of what has no type.
	list := os.NewFile(uintptr(fd), f.Path())
	defer list.Close()
	entries, err := list.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// Place is a name in a folder that is held open.
type Place struct {
	folder *Folder
	name   string
	path   string    // for messages
	by     strangers // of links that were followed to get here, beside the folder's
	shared bool      // the folder is somebody else's to close
}

// At returns the place that a path leads to. Links on the way to the last component
// are followed, that one isn't.
func At(path string) (*Place, error) { return placeAt(unix.AT_FDCWD, path, path) }

// placeAt is At for a path that starts in a certain directory.
func placeAt(dir int, path, shown string) (*Place, error) {
	name := path[strings.LastIndexByte(path, '/')+1:]
	if name == "" || name == "." || name == ".." {
		var stat unix.Stat_t
		err := error(unix.EISDIR)
		if path == "" {
			err = unix.ENOENT
		} else if missing := unix.Fstatat(dir, path, &stat, 0); missing != nil {
			err = missing
		}
		return nil, &fs.PathError{Op: "open", Path: shown, Err: err}
	}
	folder, err := openFolderAt(dir, paths.Dir(path), paths.Dir(shown), false)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: shown, Err: errors.Unwrap(err)}
	}
	return &Place{folder: folder, name: name, path: shown}, nil
}

// Place returns the place of a name in the folder, which has to stay open as long.
func (f *Folder) Place(name string) *Place {
	return &Place{folder: f, name: name, path: paths.Join(f.Path(), name), shared: true}
}

// At returns the place that a relative path leads to from the folder, as the function
// At does from the working directory.
func (f *Folder) At(relative string) (*Place, error) {
	p, err := placeAt(f.fd(), relative, paths.Join(f.Path(), relative))
	if err == nil {
		p.by = f.by
	}
	return p, err
}

// Below returns the place of a relative path below the folder. No link is followed on
// the way there. With make, directories that are missing are made. The folder has to
// stay open as long.
func (f *Folder) Below(relative string, make bool) (*Place, error) {
	if dir := strings.TrimSuffix(paths.Dir(relative), "/"); !make && dir != "." {
		// One call, where the kernel has it: Linux 5.6, and no sandbox forbids it.
		how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_BENEATH}
		if fd, err := unix.Openat2(f.fd(), dir, &how); err == nil {
			below := &Folder{os.NewFile(uintptr(fd), paths.Join(f.Path(), dir)), f.by}
			place := below.Place(relative[len(dir)+1:])
			place.shared = false
			return place, nil
		}
	}
	return f.stepBelow(relative, make)
}

func (f *Folder) stepBelow(relative string, make bool) (*Place, error) {
	folder, shared := f, true
	for {
		name, rest, more := strings.Cut(relative, "/")
		if !more {
			return &Place{folder: folder, name: name, path: paths.Join(folder.Path(), name), shared: shared}, nil
		}
		if make {
			if err := mkdirat(folder, name); err != nil {
				closeUnless(shared, folder)
				return nil, err
			}
		}
		next, err := folder.Sub(name)
		if err == nil && make {
			if err = mayFill(folder, next); err != nil {
				next.Close()
			}
		}
		closeUnless(shared, folder)
		if err != nil {
			return nil, err
		}
		folder, shared, relative = next, false, rest
	}
}

// mayFill is mayReplace for a folder on the way to a file: who put it there chooses what is
// in it.
func mayFill(folder, next *Folder) error {
	var entry unix.Stat_t
	err := unix.Fstat(next.fd(), &entry)
	if err == nil {
		err = refusePlanted(folder.fd(), &entry, errPlantedDir)
	}
	if err != nil {
		return &fs.PathError{Op: "open", Path: next.Path(), Err: err}
	}
	return nil
}

func mkdirat(f *Folder, name string) error {
	err := unix.Mkdirat(f.fd(), name, 0o777)
	if err != nil && !errors.Is(err, unix.EEXIST) {
		return &fs.PathError{Op: "mkdir", Path: paths.Join(f.Path(), name), Err: err}
	}
	return nil
}

func closeUnless(shared bool, f *Folder) {
	if !shared {
		f.Close()
	}
}

// Sibling returns the place of another name in the same folder, which stays open as
// long as this one.
func (p *Place) Sibling(name string) *Place {
	s := p.folder.Place(name)
	s.path, s.by = strings.TrimSuffix(p.path, p.name)+name, p.by
	return s
}

// Name is the last component of the path.
func (p *Place) Name() string { return p.name }

// Path is the place's path, for messages.
func (p *Place) Path() string { return p.path }

// Close lets go of the folder.
func (p *Place) Close() { closeUnless(p.shared, p.folder) }

func (p *Place) error(op string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: p.path, Err: err}
}

// stat looks at the name; a link is itself unless flags say otherwise.
func (p *Place) stat(flags int) (stat unix.Stat_t, err error) {
	err = unix.Fstatat(p.folder.fd(), p.name, &stat, flags)
	return stat, err
}

func isLink(stat *unix.Stat_t) bool    { return stat.Mode&unix.S_IFMT == unix.S_IFLNK }
func isRegular(stat *unix.Stat_t) bool { return stat.Mode&unix.S_IFMT == unix.S_IFREG }

// ErrLink refuses a symbolic link where none is followed: found in a tree, or made
// below an output folder, it is its owner's and not the user's.
var ErrLink = errors.New("a symbolic link, which is not followed here")

func linkError(path string) error { return &fs.PathError{Op: "open", Path: path, Err: ErrLink} }
